-- Stored features, one table for each traded timeframe. Their columns come from the feature registry: see Warehouse.ensure_features_table.
CREATE SCHEMA IF NOT EXISTS features;

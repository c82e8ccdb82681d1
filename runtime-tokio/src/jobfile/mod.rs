//! The job file: its types, checks and schema.

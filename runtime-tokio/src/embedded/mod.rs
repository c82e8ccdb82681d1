//! A whole cluster inside one process.

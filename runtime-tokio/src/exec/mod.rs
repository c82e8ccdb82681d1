//! What workers run: `http`, `command` and `sleep`.

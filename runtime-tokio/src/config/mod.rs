//! Configuration files of the roles.

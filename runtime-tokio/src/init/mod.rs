//! `tidegate init`: authority, certificates, keys and configuration files of a new cluster.

//! Nodes among each other: TCP under mutual TLS, datagrams under an AEAD.

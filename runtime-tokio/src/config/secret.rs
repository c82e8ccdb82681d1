//! Reading the secrets that a configuration names.

use std::fs;

use super::SecretSource;

impl SecretSource {
    /// The secret. The error names where it should be, never what was found there.
    pub fn read(&self) -> Result<String, String> {
        let text = match self {
            Self::Env(name) => {
                std::env::var(name).map_err(|_| format!("the environment has no variable {name}"))?
            }
            Self::File(path) => {
                fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?
            }
        };
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() { Err(format!("{self:?} is empty")) } else { Ok(secret.to_owned()) }
    }
}

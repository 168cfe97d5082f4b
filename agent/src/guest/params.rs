//! Typed access to the parameters of a call. Every field must be taken by
//! someone: what is left over is refused.

use super::fault::Fault;
use super::msgpack::Value;

/// Longest path accepted, in bytes (PATH_MAX).
const MAX_PATH: usize = 4096;

pub struct Params(Vec<(String, Value)>);

fn wrong(key: &str, expected: &str) -> Fault {
    Fault::invalid(format!("{}: expected {}", key, expected))
}

impl Params {
    pub fn new(value: Value) -> Result<Params, Fault> {
        match value {
            Value::Map(entries) => Ok(Params(entries)),
            Value::Nil => Ok(Params(Vec::new())),
            _ => Err(Fault::invalid("params: expected a map")),
        }
    }

    /// Takes a field out; nil counts as absent.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.swap_remove(at).1).filter(|value| *value != Value::Nil)
    }

    pub fn finish(self) -> Result<(), Fault> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(Fault::invalid(format!("unknown field {:?}", clip(key)))),
        }
    }

    pub fn text(&mut self, key: &str) -> Result<Option<String>, Fault> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Str(text)) if text.contains('\0') => {
                Err(Fault::invalid(format!("{}: contains a NUL", key)))
            }
            Some(Value::Str(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(key, "a string")),
        }
    }

    pub fn flag(&mut self, key: &str, default: bool) -> Result<bool, Fault> {
        match self.take(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(wrong(key, "true or false")),
        }
    }

    pub fn uint(&mut self, key: &str) -> Result<Option<u64>, Fault> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => match as_uint(&value) {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(key, "an integer from 0")),
            },
        }
    }

    pub fn uint_in(&mut self, key: &str, low: u64, high: u64) -> Result<Option<u64>, Fault> {
        match self.uint(key)? {
            Some(number) if number < low || number > high => {
                Err(wrong(key, &format!("an integer from {} to {}", low, high)))
            }
            other => Ok(other),
        }
    }

    pub fn required<T>(key: &str, value: Option<T>) -> Result<T, Fault> {
        value.ok_or_else(|| Fault::invalid(format!("{}: is required", key)))
    }

    /// An absolute path without NUL.
    pub fn path(&mut self, key: &str) -> Result<Option<String>, Fault> {
        match self.text(key)? {
            None => Ok(None),
            Some(path) if !path.starts_with('/') => Err(wrong(key, "an absolute path")),
            Some(path) if path.len() >= MAX_PATH => Err(Fault::invalid(format!(
                "{}: longer than {} bytes",
                key,
                MAX_PATH - 1
            ))),
            Some(path) => Ok(Some(path)),
        }
    }

    pub fn required_path(&mut self, key: &str) -> Result<String, Fault> {
        Params::required(key, self.path(key)?)
    }

    /// Permission bits: the low 12 bits of a mode.
    pub fn mode(&mut self, key: &str) -> Result<Option<u32>, Fault> {
        Ok(self.uint_in(key, 0, 0o7777)?.map(|mode| mode as u32))
    }

    pub fn bin(&mut self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bin(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(wrong(key, "bytes")),
        }
    }

    pub fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, Fault> {
        let items = match self.take(key) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(wrong(key, "a list of strings")),
        };
        let texts: Option<Vec<String>> = items
            .into_iter()
            .map(|item| match item {
                Value::Str(text) if !text.contains('\0') => Some(text),
                _ => None,
            })
            .collect();
        texts
            .map(Some)
            .ok_or_else(|| wrong(key, "a list of strings without NUL"))
    }

    pub fn map(&mut self, key: &str) -> Result<Option<Vec<(String, Value)>>, Fault> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Map(entries)) => Ok(Some(entries)),
            Some(_) => Err(wrong(key, "a map")),
        }
    }
}

/// An integer from 0; whole float64 numbers count, as some encoders send them.
pub fn as_uint(value: &Value) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match *value {
        Value::Int(number) => u64::try_from(number).ok(),
        Value::Uint(number) => Some(number),
        Value::Float(number) if (0.0..=EXACT).contains(&number) && number.fract() == 0.0 => {
            Some(number as u64)
        }
        _ => None,
    }
}

/// A hostile string cut short for a message.
pub fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

//! Files: images and labels in IDX, named tensors in safetensors.
//!
//! The one idea: a file is a stranger's. Whatever its bytes are, reading gives either what they
//! say or one [`Error`] that names the file and the value that is wrong, and it
//! takes no more memory than the file's own data. Writing is all or nothing. Chapters 5 and 19.

pub mod idx;
mod quantized;
pub mod safetensors;

use std::fs;
use std::io::Write;
use std::path::Path;

pub use idx::LabelledImages;
pub use quantized::{load_quantized, save_quantized};
pub use safetensors::{Tensor, load_network, save_network};

use crate::error::{Error, Result};

/// Writes a file as a whole: to a new file beside it, which then takes its name. Whoever reads
/// `path` sees the old bytes or the new ones, and after an error the old ones.
///
/// # Errors
/// [`Error::Io`] under the file's name.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = (|| {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    written.map_err(|error| {
        let _ = fs::remove_file(&temporary); // it may never have been made
        in_file(path)(io_error(&error))
    })
}

/// Adds a file's name to an error.
fn in_file(path: &Path) -> impl Fn(Error) -> Error {
    move |error| error.at(path.display().to_string())
}

fn io_error(error: &std::io::Error) -> Error {
    Error::Io {
        problem: error.to_string(),
    }
}

fn malformed(problem: impl Into<String>) -> Error {
    Error::MalformedFile {
        problem: problem.into(),
    }
}

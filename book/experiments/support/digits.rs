//! The handwritten digits of `book/data/digits`.

use ndarray::Array2;
use std::error::Error;
use std::path::Path;

/// The images, one a row, 64 pixels of 0 to 16 in row-major order; and the digit that each shows.
pub fn load() -> Result<(Array2<f32>, Vec<u8>), Box<dyn Error>> {
    let pixels = body("images.idx3-ubyte", 16)?;
    let labels = body("labels.idx1-ubyte", 8)?;
    let pixels = pixels.into_iter().map(f32::from).collect();
    Ok((Array2::from_shape_vec((labels.len(), 64), pixels)?, labels))
}

/// What follows the header of an IDX file of bytes.
fn body(name: &str, header: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("book/data/digits");
    let mut bytes = std::fs::read(folder.join(name))?;
    bytes.drain(..header.min(bytes.len()));
    Ok(bytes)
}

//! One error type for the whole crate.
//!
//! The one idea: an error names what was wrong *and the value that was wrong*, so that the message
//! alone is enough to find the mistake. No function of this crate panics on data.

/// What went wrong, with the offending value, its index, or the limit that it passed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scale must be finite, positive and normal, and small enough that each code dequantizes to
    /// a finite number.
    #[error(
        "the scale {scale:e} is unusable: it must be a positive, normal f32, \
         and every code must dequantize to a finite number"
    )]
    InvalidScale {
        /// The refused scale.
        scale: f32,
    },

    /// A zero point must be one of the range's own codes.
    #[error("the zero point {zero_point} lies outside the integer range {min}..={max}")]
    ZeroPointOutOfRange {
        /// The refused zero point.
        zero_point: i64,
        /// The smallest code of the range.
        min: i32,
        /// The largest code of the range.
        max: i32,
    },

    /// Codes have 2 to 8 bits, or 16.
    #[error("{bits}-bit codes are not supported: choose 2 to 8 bits, or 16")]
    UnsupportedBits {
        /// The refused width.
        bits: u32,
    },

    /// The elements to quantize cannot hold the codes of the range.
    #[error(
        "codes {min}..={max} do not fit the storage type, which holds {storage_min}..={storage_max}"
    )]
    RangeDoesNotFit {
        /// The smallest code of the range.
        min: i32,
        /// The largest code of the range.
        max: i32,
        /// The smallest value of the storage type.
        storage_min: i32,
        /// The largest value of the storage type.
        storage_max: i32,
    },

    /// A range cannot be read off no values at all.
    #[error("no values: at least one is needed to choose a range")]
    Empty,

    /// NaN has no code.
    #[error("the value at index {index} is NaN, which has no code")]
    NotANumber {
        /// Position of the first NaN, counted in row-major order.
        index: usize,
    },

    /// Infinity saturates when it is quantized, but no finite range contains it.
    #[error("the value at index {index} is {value}: a range must be finite")]
    NotFinite {
        /// Position of the first such value, counted in row-major order.
        index: usize,
        /// The value: an infinity or NaN.
        value: f32,
    },

    /// A range's lower end lies above its upper end, or is NaN or infinite.
    #[error("[{lo}, {hi}] is not a range: both ends must be finite, the lower end first")]
    InvalidRange {
        /// The lower end that was given.
        lo: f32,
        /// The upper end that was given.
        hi: f32,
    },

    /// The width of the range, or the real number that one of its codes would stand for, is not
    /// an f32.
    #[error("the range [{lo:e}, {hi:e}] is too wide: its steps overflow f32")]
    RangeTooWide {
        /// Lower end.
        lo: f32,
        /// Upper end.
        hi: f32,
    },

    /// Two buffers that belong together differ in length.
    #[error("{what}: expected {expected} elements, got {actual}")]
    LengthMismatch {
        /// Which buffer.
        what: &'static str,
        /// The length that it should have.
        expected: usize,
        /// The length that it has.
        actual: usize,
    },

    /// Two shapes that belong together differ.
    #[error("{what}: expected shape {expected:?}, got {actual:?}")]
    ShapeMismatch {
        /// Which array.
        what: &'static str,
        /// The shape that it should have.
        expected: Vec<usize>,
        /// The shape that it has.
        actual: Vec<usize>,
    },

    /// The axis does not exist in this tensor.
    #[error("axis {axis} does not exist in a tensor of shape {shape:?}")]
    AxisOutOfRange {
        /// The axis asked for.
        axis: usize,
        /// The tensor's shape.
        shape: Vec<usize>,
    },

    /// An axis that counts from the back reaches before the first.
    #[error("axis {axis}, counted from the back, does not exist in a tensor of shape {shape:?}")]
    NegativeAxisOutOfRange {
        /// The axis asked for, negative.
        axis: isize,
        /// The tensor's shape.
        shape: Vec<usize>,
    },

    /// A code that is not in its range.
    #[error("the code {code} at index {index} lies outside the integer range {min}..={max}")]
    CodeOutOfRange {
        /// Position of the code.
        index: usize,
        /// The code.
        code: i32,
        /// The smallest code of the range.
        min: i32,
        /// The largest code of the range.
        max: i32,
    },

    /// The pairs of one tensor have different integer ranges.
    #[error("the pairs of one tensor must have one integer range, but it has {first} and {other}")]
    MixedRanges {
        /// The first pair's range.
        first: String,
        /// A later pair's range.
        other: String,
    },

    /// Groups hold at least one element.
    #[error("a group needs at least one element, got the size {size}")]
    InvalidGroupSize {
        /// The refused size.
        size: usize,
    },

    /// A matrix product so deep that its sums might overflow i32.
    #[error("a product of depth {depth} might overflow i32: the depth must be at most {max}")]
    DepthTooLarge {
        /// The refused depth K.
        depth: usize,
        /// The largest depth that cannot overflow.
        max: usize,
    },

    /// The multiplier of a requantization cannot be represented.
    #[error(
        "sums cannot be multiplied by s_x·s_w / s_y = {multiplier:e}: it must be positive, \
             normal, and below 2³⁰ in fixed point"
    )]
    InvalidMultiplier {
        /// The refused multiplier.
        multiplier: f64,
    },

    /// No instruction set has this name.
    #[error(
        "`{name}` is no instruction set: choose amx, avx512vnni, avxvnni, avx2, neon-dotprod or portable"
    )]
    UnknownIsa {
        /// The refused name.
        name: String,
    },

    /// Something was wrong at one named site: a layer of a network, a tensor of a file.
    #[error("{site}: {error}")]
    At {
        /// The layer's or the tensor's name.
        site: String,
        /// What was wrong there.
        error: Box<Error>,
    },

    /// A setting has a value that means nothing.
    #[error("{what} cannot be {value}: {allowed}")]
    InvalidSetting {
        /// Which setting.
        what: &'static str,
        /// The refused value.
        value: String,
        /// The values that are allowed, in words.
        allowed: &'static str,
    },

    /// A window that slides over an image is larger than the padded image.
    #[error("a window of {kernel:?} does not fit an image that is {padded:?} with its padding")]
    WindowDoesNotFit {
        /// Height and width of the window.
        kernel: [usize; 2],
        /// Height and width of the image with its padding.
        padded: [usize; 2],
    },

    /// A result has more elements than memory has addresses.
    #[error("{what} would have the shape {shape:?}, more elements than memory has addresses")]
    TooManyElements {
        /// Which result.
        what: &'static str,
        /// The shape that it would have.
        shape: Vec<usize>,
    },

    /// Two layers or tensors have one name.
    #[error("the name `{name}` is given twice")]
    DuplicateName {
        /// The name.
        name: String,
    },

    /// A named tensor is missing, or there is one too many.
    #[error("the tensor `{name}` {problem}")]
    WrongTensors {
        /// The tensor's name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// The operating system could not read or write a file.
    #[error("{problem}")]
    Io {
        /// What it says.
        problem: String,
    },

    /// A file is not what its name or its header claims.
    #[error("malformed: {problem}")]
    MalformedFile {
        /// What is wrong, with the value.
        problem: String,
    },

    /// Training ran away: the loss is NaN or infinite.
    #[error("training diverged: the loss is {loss} in epoch {epoch}")]
    Diverged {
        /// The epoch, counted from 1.
        epoch: usize,
        /// The loss.
        loss: f64,
    },

    /// A label that names no class.
    #[error("the label {label} at index {index} names none of the {classes} classes")]
    LabelOutOfRange {
        /// Position of the label.
        index: usize,
        /// The label.
        label: usize,
        /// How many classes there are; labels count from 0.
        classes: usize,
    },
}

impl Error {
    /// The same error, with the name of the layer or tensor where it came up.
    pub fn at(self, site: impl Into<String>) -> Self {
        Self::At {
            site: site.into(),
            error: Box::new(self),
        }
    }
}

/// The crate's result type.
pub type Result<T> = std::result::Result<T, Error>;

/// # Errors
/// [`Error::LengthMismatch`] unless the lengths are equal.
pub(crate) fn same_length(what: &'static str, expected: usize, actual: usize) -> Result<()> {
    (expected == actual)
        .then_some(())
        .ok_or(Error::LengthMismatch {
            what,
            expected,
            actual,
        })
}

/// # Errors
/// [`Error::TooManyElements`] if an array of `shape` cannot exist, even one of no elements.
pub(crate) fn addressable(what: &'static str, shape: &[usize]) -> Result<()> {
    const MOST: usize = isize::MAX as usize / size_of::<u64>();
    let mut elements = Some(1usize);
    for length in shape {
        elements = elements.and_then(|elements| elements.checked_mul((*length).max(1)));
    }
    match elements.is_some_and(|elements| elements <= MOST) {
        true => Ok(()),
        false => Err(Error::TooManyElements {
            what,
            shape: shape.to_vec(),
        }),
    }
}

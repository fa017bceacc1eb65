//! The book's own checks, on its source and on the pages built from it.
//!
//! Each check is a function that returns a list of problems, and stands beside a test that it finds
//! one in a broken sample.

mod floors;
mod includes;
mod listings;
mod matter;
mod numbers;
mod pages;
mod shape;
mod site;
mod source;

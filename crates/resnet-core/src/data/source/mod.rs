//! Where data sets come from. Each source checks what it reads in its own words, and makes a [`super::Dataset`] of it.

mod arrays;
pub mod fashion_mnist;
mod idx;

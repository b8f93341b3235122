//! What was trained, in the formats of other programs.

pub mod tensor_board;

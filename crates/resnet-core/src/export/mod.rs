//! What was trained, in the formats of other programs.

pub mod onnx;
pub mod tensor_board;

//! What networks, files and training do, in one program: linked once.

mod bits;
mod damaged_data;
mod deep;
mod finite;
mod fit;
mod frozen;
mod grad_cam;
mod hashed;
mod hostile_files;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod launches;
mod load_weights;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod on_paper;
mod optimizers;
#[path = "../../resnet-ops/tests/support/order.rs"]
mod order;
mod parity;
mod pictures;
mod plan;
mod published_files;
mod quantize;
mod resize;
#[path = "../../resnet-ops/tests/support/tell.rs"]
mod tell;
mod tensor_board;
mod torch_bytes;
mod torch_files;

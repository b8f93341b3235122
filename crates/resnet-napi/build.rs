//! Sets up how the addon is linked.

fn main() {
    napi_build::setup();
}

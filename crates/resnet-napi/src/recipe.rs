//! Descriptions of networks and blocks, from the options that TypeScript has checked.

use crate::error::raise;
use napi_derive::napi;
use resnet_core::model::recipe::Recipe;

/// The layer tree that options ask for, both as JSON.
#[napi]
pub fn describe(recipe: String) -> napi::Result<String> {
    Ok(Recipe::layer(&recipe).map_err(raise)?.to_json())
}

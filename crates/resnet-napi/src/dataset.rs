//! Data sets.

use crate::batches::{BatchOptions, NativeBatches};
use crate::error::raise;
use crate::options::{image_shape, sizes_to_js};
use crate::reply::{on_thread, CancelFlag};
use napi::bindgen_prelude::{Either, Float32Array, PromiseRaw, Uint32Array, Uint8Array};
use napi::Env;
use napi_derive::napi;
use resnet_core::cancel::Cancel;
use resnet_core::data::{Dataset, Pixels, Source, Splits, Transform};
use resnet_core::tensor::copy_of;

/// Images with their labels, in memory.
#[napi]
pub struct NativeDataset(Dataset);

/// The two parts of a data set.
#[napi]
pub struct NativeSplits(Splits);

#[napi]
impl NativeDataset {
    /// A data set of images (N, C, H, W), bytes or floats, with a label each.
    #[napi(factory)]
    pub fn from_arrays(
        images: Either<Uint8Array, Float32Array>,
        shape: Vec<u32>,
        labels: Uint32Array,
        class_names: Option<Vec<String>>,
    ) -> napi::Result<Self> {
        let copied = || {
            let pixels = match &images {
                Either::A(bytes) => Pixels::U8(copy_of(bytes)?),
                Either::B(floats) => Pixels::F32(copy_of(floats)?),
            };
            Ok((pixels, copy_of(&labels)?))
        };
        let (pixels, labels) = copied().map_err(raise)?;
        let shape = image_shape("shape", &shape).map_err(raise)?;
        Dataset::from_arrays(pixels, shape, labels, class_names).map(Self).map_err(raise)
    }

    /// Number of samples.
    #[napi(getter)]
    pub fn length(&self) -> u32 {
        self.0.len() as u32
    }

    /// Channels, height and width of an image.
    #[napi(getter)]
    pub fn image_shape(&self) -> Vec<u32> {
        sizes_to_js(&self.0.image_shape())
    }

    /// Number of classes.
    #[napi(getter)]
    pub fn num_classes(&self) -> u32 {
        self.0.num_classes() as u32
    }

    /// Names of the classes, if there are any.
    #[napi(getter)]
    pub fn class_names(&self) -> Option<Vec<String>> {
        self.0.class_names().map(<[String]>::to_vec)
    }

    /// The first `count` samples.
    #[napi]
    pub fn take(&self, count: u32) -> napi::Result<Self> {
        self.0.take(count as usize).map(Self).map_err(raise)
    }

    /// A pass over the data.
    #[napi]
    pub fn batches(&self, options: BatchOptions) -> napi::Result<NativeBatches> {
        NativeBatches::new(&self.0, &options).map_err(raise)
    }
}

impl NativeDataset {
    /// The core's data set, which shares its images.
    pub fn shared(&self) -> Dataset {
        self.0.clone()
    }
}

#[napi]
impl NativeSplits {
    /// The part for training.
    #[napi(getter)]
    pub fn train(&self) -> NativeDataset {
        NativeDataset(self.0.train.clone())
    }

    /// The part for validation.
    #[napi(getter)]
    pub fn validation(&self) -> NativeDataset {
        NativeDataset(self.0.validation.clone())
    }
}

impl From<Splits> for NativeSplits {
    fn from(splits: Splits) -> Self {
        Self(splits)
    }
}

/// Loads a data set; see [`Source::from_json`] and [`Transform::list_from_json`].
#[napi]
pub fn load_dataset<'env>(
    env: &'env Env,
    source: String,
    transforms: String,
    cancel: &CancelFlag,
) -> napi::Result<PromiseRaw<'env, NativeSplits>> {
    let source = Source::from_json(&source).map_err(raise)?;
    let transforms = Transform::list_from_json(&transforms).map_err(raise)?;
    let cancel = Cancel::by([cancel.0.clone()]);
    on_thread(env, move || source.load(&transforms, &cancel))
}

//! Data sets.

use crate::batches::{pass_of, BatchOptions, NativeBatches};
use crate::error::raise;
use crate::labels::{labels_of, labels_ref_to_js, NativeMatrix};
use crate::memory::HeldImages;
use crate::options::{image_shape, sizes_to_js, NativeTensor};
use crate::reply::{on_thread, CancelFlag};
use napi::bindgen_prelude::{ClassInstance, Either, Float32Array, ObjectFinalize, PromiseRaw, Uint32Array, Uint8Array};
use napi::Env;
use napi_derive::napi;
use resnet_core::cancel::Cancel;
use resnet_core::data::{
    Dataset, GivenPicture, LabelKind, Normalise, PictureDetails, PictureTransform, Pixels, Skipped, Source, Splits,
    Transform,
};
use resnet_core::tensor::{copy_of, joined};
use resnet_core::Error;
use std::path::PathBuf;

/// Images with their labels.
#[napi(custom_finalize)]
pub struct NativeDataset {
    data: Dataset,
    images: HeldImages,
}

/// The two parts of a data set, and what was left out when it was loaded.
#[napi]
pub struct NativeSplits {
    splits: Splits,
    skipped: Skipped,
}

/// See [`Skipped`].
#[napi(object)]
pub struct NativeSkipped {
    pub hidden: u32,
    pub links: u32,
    pub others: u32,
    pub unreadable: Vec<NativeUnreadable>,
    pub empty_classes: Vec<String>,
    pub untrained_classes: Vec<String>,
    pub test: u32,
}

/// What a picture's file holds; `problem` is what it is instead of a picture.
#[napi(object)]
pub struct NativeDetails {
    pub path: String,
    pub sha256: String,
    pub height: u32,
    pub width: u32,
    pub colours: String,
    pub problem: Option<String>,
}

struct Inspected(Vec<PictureDetails>);

impl From<Inspected> for Vec<NativeDetails> {
    fn from(inspected: Inspected) -> Self {
        let details = |PictureDetails { path, sha256, content }: PictureDetails| {
            let ([height, width], colours, problem) = match content {
                Ok((size, colours)) => (size, colours, None),
                Err(got) => ([0; 2], "", Some(got)),
            };
            NativeDetails {
                path: path.display().to_string(),
                sha256: sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
                height: height as u32,
                width: width as u32,
                colours: colours.to_owned(),
                problem,
            }
        };
        inspected.0.into_iter().map(details).collect()
    }
}

/// A file that is no picture, with what it is.
#[napi(object)]
pub struct NativeUnreadable {
    pub path: String,
    pub got: String,
}

/// Files that passes have left out so far.
#[napi(object)]
pub struct NativeLeftOut {
    pub count: u32,
    pub files: Vec<NativeUnreadable>,
}

/// See [`Normalise`].
#[napi(object)]
pub struct NativeNormalise {
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
}

#[napi]
impl NativeDataset {
    /// A data set of images (N, C, H, W), bytes or floats, with a label each or any number.
    #[napi(factory)]
    pub fn from_arrays(
        env: &Env,
        images: Either<Uint8Array, Float32Array>,
        shape: Vec<u32>,
        labels: Either<Uint32Array, NativeMatrix>,
        class_names: Option<Vec<String>>,
    ) -> napi::Result<Self> {
        let copied = || {
            let pixels = match &images {
                Either::A(bytes) => Pixels::U8(copy_of(bytes)?),
                Either::B(floats) => Pixels::F32(copy_of(floats)?),
            };
            Ok((pixels, labels_of(&labels)?))
        };
        let (pixels, labels) = copied().map_err(raise)?;
        let shape = image_shape("shape", &shape).map_err(raise)?;
        Dataset::from_arrays(pixels, shape, labels, class_names).map(|data| Self::new(env, data)).map_err(raise)
    }

    /// A data set of pictures that a transform, as JSON, brought to bytes, in several parts.
    #[napi(factory)]
    pub fn from_fitted(
        env: &Env,
        parts: Vec<Uint8Array>,
        transform: String,
        labels: Either<Uint32Array, NativeMatrix>,
        class_names: Option<Vec<String>>,
    ) -> napi::Result<Self> {
        let transform = PictureTransform::from_json(&transform).map_err(raise)?;
        let copied = || Ok((joined(&parts)?, labels_of(&labels)?));
        let (images, labels) = copied().map_err(raise)?;
        Dataset::of_fitted(images, transform, labels, class_names).map(|data| Self::new(env, data)).map_err(raise)
    }

    /// The first batch of a pass as a PNG, below a line of text.
    #[napi]
    pub fn preview<'env>(
        &self,
        env: &'env Env,
        options: BatchOptions,
        title: String,
    ) -> napi::Result<PromiseRaw<'env, Uint8Array>> {
        let (pass, _) = pass_of(&self.data, &options).map_err(raise)?;
        on_thread(env, move || pass.preview(&title))
    }

    /// Number of samples.
    #[napi(getter)]
    pub fn length(&self) -> u32 {
        self.data.len() as u32
    }

    /// Channels, height and width of an image.
    #[napi(getter)]
    pub fn image_shape(&self) -> Vec<u32> {
        sizes_to_js(&self.data.image_shape())
    }

    /// Number of classes.
    #[napi(getter)]
    pub fn num_classes(&self) -> u32 {
        self.data.num_classes() as u32
    }

    /// Names of the classes, if there are any.
    #[napi(getter)]
    pub fn class_names(&self) -> Option<Vec<String>> {
        self.data.class_names().map(<[String]>::to_vec)
    }

    /// A label for each sample, or (N, classes) as [`Labels::Multi`](resnet_core::data::Labels::Multi) has it.
    #[napi(getter)]
    pub fn labels(&self) -> Either<Uint32Array, Uint8Array> {
        labels_ref_to_js(self.data.labels())
    }

    /// `single` or `multi`: how many classes a sample may be of.
    #[napi(getter)]
    pub fn label_kind(&self) -> &'static str {
        match self.data.labels().kind() {
            LabelKind::Single => "single",
            LabelKind::Multi => "multi",
        }
    }

    /// What is done to a picture to become an image of this set, as JSON; null where that cannot be told.
    #[napi(getter)]
    pub fn transform(&self) -> Option<String> {
        self.data.picture_transform().map(|transform| transform.to_json())
    }

    /// The files that passes have left out so far.
    #[napi]
    pub fn unreadable(&self) -> NativeLeftOut {
        let unreadable = self.data.unreadable();
        NativeLeftOut { count: unreadable.count as u32, files: named(unreadable.files) }
    }

    /// The samples at these places.
    #[napi]
    pub fn subset(&self, env: &Env, indices: Uint32Array) -> napi::Result<Self> {
        self.data.subset(&indices).map(|data| Self::new(env, data)).map_err(raise)
    }

    /// Two parts; see [`Dataset::split`].
    #[napi]
    pub fn split(&self, fraction: f64, stratified: bool, seed: i64) -> napi::Result<NativeSplits> {
        let splits = self.data.split(fraction, stratified, seed as u64).map_err(raise)?;
        Ok((splits, Skipped::default()).into())
    }

    /// The samples of several sets.
    #[napi(factory)]
    pub fn concat(env: &Env, parts: Vec<ClassInstance<NativeDataset>>) -> napi::Result<Self> {
        Dataset::concat(parts.iter().map(|part| part.data.clone()).collect())
            .map(|data| Self::new(env, data))
            .map_err(raise)
    }

    /// A weight for each class; see [`Dataset::class_weights`].
    #[napi]
    pub fn class_weights(&self, power: f64) -> napi::Result<Vec<f64>> {
        self.data.class_weights(power).map_err(raise)
    }

    /// The same samples, normalised in this way or not at all.
    #[napi]
    pub fn normalised(&self, env: &Env, normalise: Option<NativeNormalise>) -> napi::Result<Self> {
        let normalise = normalise.map(|NativeNormalise { mean, std }| Normalise { mean, std });
        self.data.normalised(normalise).map(|data| Self::new(env, data)).map_err(raise)
    }

    /// Mean and deviation of each channel.
    #[napi]
    pub fn measure<'env>(
        &self,
        env: &'env Env,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeNormalise>> {
        let (data, cancel) = (self.data.clone(), Cancel::by([cancel.0.clone()]));
        on_thread(env, move || data.measure(&cancel))
    }

    /// What the files hold, in the order of the set.
    #[napi]
    pub fn inspect<'env>(
        &self,
        env: &'env Env,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, Vec<NativeDetails>>> {
        let (data, cancel) = (self.data.clone(), Cancel::by([cancel.0.clone()]));
        on_thread(env, move || data.inspect(&cancel).map(Inspected))
    }

    /// Reads all images once.
    #[napi]
    pub fn verify<'env>(&self, env: &'env Env, cancel: &CancelFlag) -> napi::Result<PromiseRaw<'env, ()>> {
        let (data, cancel) = (self.data.clone(), Cancel::by([cancel.0.clone()]));
        on_thread(env, move || data.verify(&cancel))
    }

    /// The first `count` samples.
    #[napi]
    pub fn take(&self, env: &Env, count: u32) -> napi::Result<Self> {
        self.data.take(count as usize).map(|data| Self::new(env, data)).map_err(raise)
    }

    /// A pass over the data.
    #[napi]
    pub fn batches(&self, options: BatchOptions) -> napi::Result<NativeBatches> {
        NativeBatches::new(&self.data, &options).map_err(raise)
    }
}

impl ObjectFinalize for NativeDataset {
    fn finalize(self, env: Env) -> napi::Result<()> {
        self.images.forget(&env);
        Ok(())
    }
}

impl NativeDataset {
    fn new(env: &Env, data: Dataset) -> Self {
        Self { images: HeldImages::new(env, &data), data }
    }

    /// The core's data set, which shares its images.
    pub fn shared(&self) -> Dataset {
        self.data.clone()
    }
}

#[napi]
impl NativeSplits {
    /// The part for training.
    #[napi(getter)]
    pub fn train(&self, env: &Env) -> NativeDataset {
        NativeDataset::new(env, self.splits.train.clone())
    }

    /// The part for validation, if there is one.
    #[napi(getter)]
    pub fn validation(&self, env: &Env) -> Option<NativeDataset> {
        self.splits.validation.clone().map(|data| NativeDataset::new(env, data))
    }

    /// What was left out.
    #[napi(getter)]
    pub fn skipped(&self) -> NativeSkipped {
        let Skipped { hidden, links, others, unreadable, empty_classes, untrained_classes, test } =
            self.skipped.clone();
        let [hidden, links, others, test] = [hidden, links, others, test].map(|count| count as u32);
        NativeSkipped { hidden, links, others, unreadable: named(unreadable), empty_classes, untrained_classes, test }
    }
}

impl From<(Splits, Skipped)> for NativeSplits {
    fn from((splits, skipped): (Splits, Skipped)) -> Self {
        Self { splits, skipped }
    }
}

impl From<Normalise> for NativeNormalise {
    fn from(Normalise { mean, std }: Normalise) -> Self {
        Self { mean, std }
    }
}

/// Paths as JavaScript's strings: of a name that is not Unicode, what can be shown of it.
fn named(files: Vec<(PathBuf, String)>) -> Vec<NativeUnreadable> {
    files.into_iter().map(|(path, got)| NativeUnreadable { path: path.display().to_string(), got }).collect()
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

/// One picture, in any of its forms, as the transform makes it, before it is scaled and normalised.
#[napi]
pub fn fit_picture<'env>(
    env: &'env Env,
    name: String,
    picture: NativePicture,
    transform: String,
) -> napi::Result<PromiseRaw<'env, Uint8Array>> {
    let transform = PictureTransform::from_json(&transform).map_err(raise)?;
    let picture = GivenPicture::try_from(picture).map_err(raise)?;
    on_thread(env, move || transform.fitted(&name, &picture))
}

/// Pictures, each a path, the bytes of a file or pixels, as the transform makes them: one tensor (N, C, H, W).
#[napi]
pub fn preprocess<'env>(
    env: &'env Env,
    pictures: Vec<NativePicture>,
    transform: String,
    cancel: &CancelFlag,
) -> napi::Result<PromiseRaw<'env, NativeTensor>> {
    let transform = PictureTransform::from_json(&transform).map_err(raise)?;
    let pictures = pictures.into_iter().map(GivenPicture::try_from).collect::<Result<Vec<_>, _>>().map_err(raise)?;
    let cancel = Cancel::by([cancel.0.clone()]);
    on_thread(env, move || transform.images(&pictures, &cancel))
}

/// A picture: of these `path`, or `bytes` alone, or with the `size` of pixels.
#[napi(object)]
pub struct NativePicture {
    pub path: Option<String>,
    pub bytes: Option<Uint8Array>,
    pub size: Option<NativePixels>,
}

/// The size of pixels.
#[napi(object)]
pub struct NativePixels {
    pub height: u32,
    pub width: u32,
    pub channels: u32,
}

impl TryFrom<NativePicture> for GivenPicture {
    type Error = Error;

    /// Copied now: JavaScript may write to its arrays.
    fn try_from(NativePicture { path, bytes, size }: NativePicture) -> Result<Self, Error> {
        let bytes = bytes.map(|bytes| copy_of(&bytes)).transpose()?.unwrap_or_default();
        Ok(match (path, size) {
            (Some(path), _) => Self::File(path.into()),
            (None, None) => Self::Bytes(bytes),
            (None, Some(NativePixels { height, width, channels })) => {
                Self::Pixels { data: bytes, size: [height as usize, width as usize], channels: channels as usize }
            }
        })
    }
}

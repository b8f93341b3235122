//! Images with their labels, in memory or in files.

mod fingerprint;
mod memory;

pub use memory::ImageMemory;

use super::augment::{Augment, Canvas};
use super::classes::Classes;
use super::labels::{Labels, LabelsRef};
use super::picture::{Fit, Picture, PictureSet, PictureTransform, ReadScratch, Unreadable};
use super::pixels::Pixels;
use super::transform::{Normalise, Transform, TransformScratch, Transforms};
use crate::error::{Code, Error, Result};
use resnet_ops::allocate::copy_of;
use resnet_ops::resample::ResidentImages;
use resnet_ops::Executor;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Images with their labels. Clones and parts of it share the images.
#[derive(Clone)]
pub struct Dataset {
    images: Arc<Images>,
    /// Where each sample's image stands among them; without it they are the first ones.
    places: Option<Arc<[u32]>>,
    /// Of each sample; there may be more behind the last one.
    labels: Arc<Labels>,
    len: usize,
    classes: Arc<Classes>,
    /// Of arrays; what is done to pictures is the pictures' own.
    transforms: Arc<Transforms>,
    normalise: Option<Arc<Normalise>>,
}

/// The two parts of a data set.
#[derive(Clone, Debug)]
pub struct Splits {
    /// For training.
    pub train: Dataset,
    /// For validation, if there is such a part.
    pub validation: Option<Dataset>,
}

/// Where images come from.
enum Images {
    /// All of one size, in memory; what pictures went through to become such, if they were pictures.
    Arrays { pixels: Pixels, image: [usize; 3], made_by: Option<PictureTransform> },
    /// Files.
    Pictures(PictureSet),
    /// Those of other data sets, one after the other.
    Parts(Vec<Dataset>),
}

/// At least one image, all of one size, with a label each, which is below the number of classes; a name for each class or none.
pub(super) struct Samples {
    pub pixels: Pixels,
    /// Channels, height and width of an image.
    pub image: [usize; 3],
    pub labels: Labels,
    pub num_classes: usize,
    pub class_names: Option<Vec<String>>,
}

/// How an image is to be changed: the list, and what its stream is named by.
#[derive(Clone, Copy)]
pub(super) struct Draw<'a> {
    pub augment: &'a Augment,
    pub seed: u64,
    pub epoch: u64,
    pub sample: u64,
}

/// Memory that images need on their way into a batch, kept from image to image.
#[derive(Default)]
pub(super) struct ImageScratch {
    transform: TransformScratch,
    read: ReadScratch,
    canvas: Canvas,
}

impl Dataset {
    /// A data set of samples that were checked where they came in.
    pub(super) fn new(samples: Samples) -> Self {
        let Samples { pixels, image, labels, num_classes, class_names } = samples;
        let transforms = Transforms::none(image);
        Self::of(Images::Arrays { pixels, image, made_by: None }, labels, num_classes, class_names, transforms)
    }

    /// A data set of pictures that this transform brought to bytes, (N, C, H, W), with a label each.
    ///
    /// # Errors
    /// As [`Dataset::from_arrays`].
    pub fn of_fitted(
        pixels: Vec<u8>,
        transform: PictureTransform,
        labels: impl Into<Labels>,
        class_names: Option<Vec<String>>,
    ) -> Result<Self> {
        transform.check()?;
        let labels = labels.into();
        let [channels, height, width] = transform.output();
        let shape = [labels.len(), channels, height, width];
        let set = Self::from_arrays(Pixels::U8(pixels), shape, labels, class_names)?;
        let normalise = transform.normalise.clone().map(Arc::new);
        let mut images =
            Arc::into_inner(set.images).ok_or_else(|| Error::new(Code::Internal, "images that are shared"))?;
        if let Images::Arrays { made_by, .. } = &mut images {
            *made_by = Some(transform);
        }
        Ok(Self { images: Arc::new(images), normalise, ..set })
    }

    /// A data set of picture files with a label each, which is below the number of classes, at least one.
    pub(super) fn of_pictures(pictures: PictureSet, labels: Labels, class_names: Vec<String>) -> Self {
        let transforms = Transforms::none(pictures.transform().output());
        let normalise = pictures.transform().normalise.clone().map(Arc::new);
        let set = Self::of(Images::Pictures(pictures), labels, class_names.len(), Some(class_names), transforms);
        Self { normalise, ..set }
    }

    /// The samples of several data sets, one set after the other; their images have one shape, their classes one meaning.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if there is none, or names of classes differ; `ERR_SHAPE` if shapes do.
    pub fn concat(parts: Vec<Self>) -> Result<Self> {
        let Some(first) = parts.first() else {
            return Err(Error::expected(Code::InvalidArgument, "concat", "at least one data set", "none"));
        };
        for (index, part) in parts.iter().enumerate() {
            if part.image_shape() != first.image_shape() {
                let ([c, h, w], [k, i, j]) = (first.image_shape(), part.image_shape());
                let (name, expected) = (format!("concat[{index}]"), format!("images of {c}x{h}x{w} as the first"));
                return Err(Error::expected(Code::Shape, &name, expected, format!("{k}x{i}x{j}")));
            }
            if part.labels().kind() != first.labels().kind() {
                let name = format!("concat[{index}]");
                let [expected, got] = [first, part].map(|set| set.labels().kind().told());
                return Err(Error::expected(Code::InvalidArgument, &name, format!("{expected}, as of the first"), got));
            }
            if part.classes != first.classes {
                let expected = format!("the classes of the first, {}", first.classes.told());
                let name = format!("concat[{index}]");
                return Err(Error::expected(Code::InvalidArgument, &name, expected, part.classes.told()));
            }
        }
        let len: usize = parts.iter().map(Self::len).sum();
        if u32::try_from(len).is_err() {
            return Err(Error::expected(Code::InvalidArgument, "concat", "fewer than 2^32 samples", len));
        }
        let mut labels = Labels::default();
        labels.clear_for(first.labels(), len)?;
        parts.iter().try_for_each(|part| labels.extend(part.labels()))?;
        let (classes, transforms) = (first.classes.clone(), Arc::new(Transforms::none(first.image_shape())));
        let images = Arc::new(Images::Parts(parts));
        Ok(Self { images, places: None, labels: labels.into(), len, classes, transforms, normalise: None })
    }

    fn of(images: Images, labels: Labels, count: usize, names: Option<Vec<String>>, transforms: Transforms) -> Self {
        Self {
            images: Arc::new(images),
            places: None,
            len: labels.len(),
            labels: labels.into(),
            classes: Arc::new(Classes { count, names }),
            transforms: Arc::new(transforms),
            normalise: None,
        }
    }

    /// Number of samples, at least 1.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Channels, height and width of an image as batches hold it.
    pub fn image_shape(&self) -> [usize; 3] {
        self.transforms.output()
    }

    /// Number of classes.
    pub fn num_classes(&self) -> usize {
        self.classes.count
    }

    /// Names of the classes, if they were given.
    pub fn class_names(&self) -> Option<&[String]> {
        self.classes.names.as_deref()
    }

    /// Labels of all samples.
    pub fn labels(&self) -> LabelsRef<'_> {
        self.labels.all().part(0..self.len)
    }

    /// The first `count` samples, or all if there are fewer.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if `count` is 0.
    pub fn take(&self, count: usize) -> Result<Self> {
        if count == 0 {
            return Err(Error::expected(Code::InvalidArgument, "count", "at least 1", 0));
        }
        Ok(Self { len: count.min(self.len), ..self.clone() })
    }

    /// The samples at these places, in this order; one may come several times.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if there is none, or a place is outside the set.
    pub fn subset(&self, indices: &[u32]) -> Result<Self> {
        if indices.is_empty() {
            return Err(Error::expected(Code::InvalidArgument, "indices", "at least one", "none"));
        }
        if let Some((i, index)) = indices.iter().enumerate().find(|(_, &index)| index as usize >= self.len) {
            return Err(self.outside(i, *index as usize));
        }
        let place = |&index: &u32| self.places.as_ref().map_or(index, |places| places[index as usize]);
        Ok(Self {
            places: Some(indices.iter().map(place).collect()),
            labels: Arc::new(self.labels.all().gather(indices)?),
            len: indices.len(),
            ..self.clone()
        })
    }

    /// The same samples with these transforms in place of those they had: each is applied, in this order, when a batch is made.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if one does not fit the images, or the images are no arrays.
    pub fn with_transforms(&self, transforms: &[Transform]) -> Result<Self> {
        let Images::Arrays { image, .. } = &*self.images else {
            return Err(Error::expected(Code::InvalidArgument, "transforms", "images in arrays", "picture files"));
        };
        let transforms = Arc::new(Transforms::new(transforms, *image)?);
        Ok(Self { transforms, ..self.clone() })
    }

    /// The same samples, normalised in this way when a batch is made, and in no other.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if it does not fit the images.
    pub fn normalised(&self, normalise: Option<Normalise>) -> Result<Self> {
        if let Some(normalise) = &normalise {
            normalise.check(self.image_shape()[0])?;
        }
        if let Images::Parts(parts) = &*self.images {
            let parts = parts.iter().map(|part| part.normalised(normalise.clone())).collect::<Result<_>>()?;
            return Ok(Self { images: Arc::new(Images::Parts(parts)), ..self.clone() });
        }
        Ok(Self { normalise: normalise.map(Arc::new), ..self.clone() })
    }

    /// How its images are normalised, if they are.
    pub fn normalise(&self) -> Option<&Normalise> {
        match &*self.images {
            Images::Parts(parts) => parts[0].normalise(),
            Images::Arrays { .. } | Images::Pictures(_) => self.normalise.as_deref(),
        }
    }

    /// What is done to a picture to become an image of this set, as plain data; None where that cannot be told, as of arrays of numbers.
    pub fn picture_transform(&self) -> Option<PictureTransform> {
        let normalise = || self.normalise.as_deref().cloned();
        match &*self.images {
            Images::Pictures(pictures) => {
                Some(PictureTransform { normalise: normalise(), ..pictures.transform().clone() })
            }
            Images::Arrays { made_by: Some(transform), .. } => {
                Some(PictureTransform { normalise: normalise(), ..transform.clone() })
            }
            Images::Arrays { pixels: Pixels::U8(_), .. } => {
                let [channels, height, width] = self.image_shape();
                let (fit, background) = (Fit::default(), [0; 3]);
                let transform =
                    PictureTransform { size: [height, width], fit, channels, background, normalise: normalise() };
                transform.check().is_ok().then_some(transform)
            }
            Images::Arrays { pixels: Pixels::F32(_), .. } => None,
            Images::Parts(parts) => {
                let first = parts[0].picture_transform()?;
                parts.iter().all(|part| part.picture_transform().as_ref() == Some(&first)).then_some(first)
            }
        }
    }

    /// The files that were left out so far.
    pub fn unreadable(&self) -> Unreadable {
        match &*self.images {
            Images::Pictures(pictures) => pictures.unreadable(),
            Images::Arrays { .. } => Unreadable::default(),
            Images::Parts(parts) => parts.iter().fold(Unreadable::default(), |mut all, part| {
                let Unreadable { count, files } = part.unreadable();
                all.count += count;
                all.files.extend(files);
                all
            }),
        }
    }

    /// Whether images have to be read and decoded: more threads help then.
    pub fn is_decoded(&self) -> bool {
        match &*self.images {
            Images::Pictures(_) => true,
            Images::Arrays { .. } => false,
            Images::Parts(parts) => parts.iter().any(Self::is_decoded),
        }
    }

    /// Refuses augmentations that do not fit the images.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT`.
    pub fn check_augment(&self, augment: &Augment) -> Result<()> {
        match &*self.images {
            Images::Pictures(_) => augment.check(self.image_shape(), true),
            Images::Arrays { pixels, .. } => {
                let bytes = matches!(pixels, Pixels::U8(_)) && self.transforms.keep_bytes();
                augment.check(self.image_shape(), bytes)
            }
            Images::Parts(parts) => parts.iter().try_for_each(|part| part.check_augment(augment)),
        }
    }

    /// The images on the GPU that computes; None if none does, if it has not the room or cannot transform them.
    pub(super) fn resident(&self, executor: &Executor) -> Result<Option<ResidentImages>> {
        let Images::Arrays { pixels, image, .. } = &*self.images else { return Ok(None) };
        if self.normalise.is_some() || executor.gpu().is_none() {
            return Ok(None);
        }
        let image_len: usize = image.iter().product();
        match &self.places {
            None => self.transforms.resident(executor, pixels.part(0..self.len * image_len)),
            Some(places) => {
                let chosen = pixels.gather(&places[..self.len], image_len);
                self.transforms.resident(executor, chosen.part(0..chosen.len()))
            }
        }
    }

    /// Writes the samples at `indices` as a batch: images (N, C, H, W) of [`Self::image_shape`] and labels (N).
    ///
    /// # Errors
    /// `ERR_SHAPE` if the slices have other lengths, `ERR_INVALID_ARGUMENT` if an index is outside the set or samples have any number of
    /// labels. `ERR_IO`, `ERR_DATA_CORRUPT`
    /// of pictures that cannot be read, also if those are to be skipped.
    pub fn fill(&self, indices: &[usize], images: &mut [f32], labels: &mut [u32]) -> Result<()> {
        let out_len: usize = self.image_shape().iter().product();
        if indices.len().checked_mul(out_len) != Some(images.len()) {
            let expected = format!("{} images of {out_len} values", indices.len());
            return Err(Error::expected(Code::Shape, "images", expected, format!("{} values", images.len())));
        }
        let all = self.single_labels("labels")?;
        if labels.len() != indices.len() {
            return Err(Error::expected(Code::Shape, "labels", indices.len(), labels.len()));
        }
        if let Some((i, &index)) = indices.iter().enumerate().find(|(_, &index)| index >= self.len) {
            return Err(self.outside(i, index));
        }
        let mut scratch = ImageScratch::default();
        for ((&index, out), label) in indices.iter().zip(images.chunks_exact_mut(out_len)).zip(labels) {
            if !self.image(index, None, out, &mut scratch)? {
                let expected = format!("a picture that can be read as sample {index}");
                return Err(Error::expected(Code::DataCorrupt, "indices", expected, "one that is skipped"));
            }
            *label = all[index];
        }
        Ok(())
    }

    /// The file of a sample, if it is a picture in one.
    pub(super) fn file(&self, index: usize) -> Option<&Path> {
        let mut place = self.places.as_ref().map_or(index, |places| places[index] as usize);
        match &*self.images {
            Images::Arrays { .. } => None,
            Images::Pictures(pictures) => Some(pictures.file(place)),
            Images::Parts(parts) => {
                let part = parts.iter().find(|part| {
                    let is_here = place < part.len;
                    place -= if is_here { 0 } else { part.len };
                    is_here
                })?;
                part.file(place)
            }
        }
    }

    /// Writes one image, changed as drawn, to `out` of the image's length; false if it cannot be read and is to be skipped.
    pub(super) fn image(
        &self,
        index: usize,
        draw: Option<Draw>,
        out: &mut [f32],
        scratch: &mut ImageScratch,
    ) -> Result<bool> {
        let place = self.places.as_ref().map_or(index, |places| places[index] as usize);
        if let Images::Parts(parts) = &*self.images {
            let mut place = place;
            for part in parts {
                if place < part.len {
                    return part.image(place, draw, out, scratch);
                }
                place -= part.len;
            }
            return Err(Error::new(Code::Internal, "a sample beyond the parts of a data set"));
        }
        let shape = self.image_shape();
        let ImageScratch { transform, read, canvas } = scratch;
        match draw {
            None => match &*self.images {
                Images::Arrays { pixels, image, .. } => {
                    self.transforms.apply(pixels.image(place, image), out, transform);
                    self.normalise.iter().for_each(|normalise| normalise.apply(out));
                    return Ok(true);
                }
                Images::Pictures(pictures) => {
                    if !pictures.fitted(place, canvas.bytes(shape), read)? {
                        return Ok(false);
                    }
                }
                Images::Parts(_) => {}
            },
            Some(Draw { augment, seed, epoch, sample }) => {
                let mut streams = augment.streams(seed, epoch, sample);
                match (&*self.images, augment.resized_crop()) {
                    (Images::Pictures(pictures), Some(crop)) => {
                        let Some(picture) = pictures.decoded(place, read)? else { return Ok(false) };
                        let part = picture.part(crop.draw(picture.size, &mut streams.varying))?;
                        part.resize([shape[1], shape[2]], canvas.bytes(shape), &mut read.fit)?;
                    }
                    (Images::Pictures(pictures), None) => {
                        if !pictures.fitted(place, canvas.bytes(shape), read)? {
                            return Ok(false);
                        }
                    }
                    (Images::Arrays { pixels: Pixels::U8(pixels), image, .. }, Some(crop)) => {
                        let len: usize = image.iter().product();
                        let planes = copy_of(&pixels[place * len..(place + 1) * len])?;
                        let picture = Picture { size: [image[1], image[2]], planes };
                        let part = picture.part(crop.draw(picture.size, &mut streams.varying))?;
                        part.resize([shape[1], shape[2]], canvas.bytes(shape), &mut read.fit)?;
                    }
                    (Images::Arrays { pixels, image, .. }, _) => {
                        let image = pixels.image(place, image);
                        if !self.transforms.apply_to_bytes(image, canvas.bytes(shape), transform) {
                            let floats = canvas.floats(shape);
                            floats.resize(out.len(), 0.0);
                            self.transforms.apply(image, floats, transform);
                        }
                    }
                    (Images::Parts(_), _) => {}
                }
                augment.apply(canvas, &mut streams);
                canvas.write(self.normalise.as_deref(), out);
                augment.finish(out, shape, &mut streams);
                return Ok(true);
            }
        }
        canvas.write(self.normalise.as_deref(), out);
        Ok(true)
    }

    fn outside(&self, i: usize, index: usize) -> Error {
        let (name, expected) = (format!("indices[{i}]"), format!("an index below {}", self.len));
        Error::expected(Code::InvalidArgument, &name, expected, index)
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let [channels, height, width] = self.image_shape();
        let classes = self.num_classes();
        write!(formatter, "Dataset({} images of {channels}x{height}x{width}, {classes} classes)", self.len)
    }
}

#[cfg(test)]
mod tests;

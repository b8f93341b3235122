//! Models: a network's description and the thread that holds its weights.

use crate::actor::Actor;
use crate::dataset::NativeDataset;
use crate::error::raise;
use crate::options::{
    image_shape, Classified, ComputeOptions, ModelOptions, NamedTensor, NamedTensors, NativeCalibration, NativeCurve,
    NativeEvaluation, NativeExported, NativeHead, NativeHeatMaps, NativeLoadOptions, NativeLoadReport,
    NativePrediction, NativeQuantized, NativeRow, NativeTensor,
};
use crate::ranks::GivenRanks;
use crate::reply::{CancelFlag, Reply};
use crate::run::NativeRun;
use crate::trainer::NativeTrainer;
use napi::bindgen_prelude::{Float32Array, ObjectFinalize, PromiseRaw, ToNapiValue};
use napi::Env;
use napi_derive::napi;
use resnet_core::cancel::Cancel;
use resnet_core::device::Compute;
use resnet_core::export::onnx::OnnxOptions;
use resnet_core::interface::Interface;
use resnet_core::model::graph::trace_channels;
use resnet_core::model::params::Params;
use resnet_core::model::recipe;
use resnet_core::model::summary::{rows, Depth};
use resnet_core::model::Layer;
use resnet_core::session::{not_built, Images, Tensor};
use resnet_core::tensor::copy_of;
use resnet_core::train::{find_learning_rate, move_to, FinderConfig, FitConfig, UpdateConfig};
use resnet_core::{Code, Error, Measuring, Session, SessionOptions};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// A model: its network, and the handle of the thread that has its weights.
#[napi(custom_finalize)]
pub struct NativeModel {
    actor: Arc<Actor>,
    network: Layer,
    trainers: AtomicUsize,
}

#[napi]
impl NativeModel {
    /// A model of the network that JSON describes; its thread starts, and its weights are drawn, with the first call.
    #[napi(constructor)]
    pub fn new(description: String, options: ModelOptions) -> napi::Result<Self> {
        let network = recipe::layer(&description).map_err(raise)?;
        let options = SessionOptions::try_from(options).map_err(raise)?;
        if let Some(channels) = options.in_channels {
            trace_channels(&network, channels).map_err(raise)?;
        }
        let described = network.clone();
        let actor = Actor::new(options.in_channels, move || Session::new(described, &options));
        Ok(Self { actor, network, trainers: AtomicUsize::new(0) })
    }

    /// The model of a file, maybe with another head.
    #[napi]
    pub fn load<'env>(
        env: &'env Env,
        path: String,
        options: ComputeOptions,
        head: Option<NativeHead>,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeModel>> {
        let compute = options.try_into().map_err(raise)?;
        let ends = Cancel::by([cancel.0.clone()]);
        let actor = Actor::new(None, move || {
            let path = PathBuf::from(path);
            match head {
                Some(head) => Session::load_with_head(&path, compute, head.into(), &ends),
                None => Session::load(&path, compute, &ends),
            }
        });
        let (reply, promise) = Reply::new(env)?;
        let handle = actor.clone();
        actor.call(reply, cancel.0.clone(), None, move |context| {
            Ok(Loaded { actor: handle, network: context.session.network().clone() })
        });
        Ok(promise)
    }

    /// The device that computes.
    #[napi]
    pub fn device<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, String>> {
        self.read(env, &CancelFlag::default(), |session| Ok(session.device().to_string()))
    }

    /// The seed of its weights, which runs take where they are told none.
    #[napi]
    pub fn seed<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, f64>> {
        self.read(env, &CancelFlag::default(), |session| Ok(session.seed() as f64))
    }

    /// Moves weights and trainers to another device.
    #[napi]
    pub fn to<'env>(&self, env: &'env Env, options: ComputeOptions) -> napi::Result<PromiseRaw<'env, ()>> {
        let compute = Compute::try_from(options).map_err(raise)?;
        let writer = self.actor.writer().map_err(raise)?;
        let (reply, promise) = Reply::new(env)?;
        self.actor.call(reply, CancelFlag::default().0, Some(writer), move |context| {
            move_to(context.session, compute, context.trainers.values_mut())
        });
        Ok(promise)
    }

    /// The network's description, as JSON.
    #[napi(getter)]
    pub fn description(&self) -> String {
        self.network.to_json()
    }

    /// Channels of the input, once known.
    #[napi(getter)]
    pub fn in_channels(&self) -> Option<u32> {
        self.actor.in_channels().map(|channels| channels as u32)
    }

    /// Whether it is quantised.
    #[napi(getter)]
    pub fn quantized(&self) -> bool {
        self.actor.is_quantized()
    }

    /// Rows of a summary for images of this shape, a row for each child of the root or for each layer.
    #[napi]
    pub fn summary(&self, shape: Vec<u32>, layers: bool) -> napi::Result<Vec<NativeRow>> {
        let shape = image_shape("shape", &shape).map_err(raise)?;
        let depth = if layers { Depth::Layers } else { Depth::Stages };
        let rows = rows(&self.network, &shape, depth).map_err(raise)?;
        Ok(rows.into_iter().map(NativeRow::from).collect())
    }

    /// Number of parameters. `ERR_NOT_BUILT` before the input channels are known.
    #[napi(getter)]
    pub fn num_parameters(&self) -> napi::Result<f64> {
        let channels = self.actor.in_channels().ok_or_else(|| raise(not_built()))?;
        let count = || Ok(Params::of(&trace_channels(&self.network, channels)?)?.parameters_len() as f64);
        count().map_err(raise)
    }

    /// The network's output, in batches of `batch_size` images. In training mode batch norms see the batch, so all images
    /// are one batch.
    #[napi]
    pub fn forward<'env>(
        &self,
        env: &'env Env,
        images: Float32Array,
        shape: Vec<u32>,
        training: bool,
        both_ways: bool,
        batch_size: u32,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeTensor>> {
        let shape = image_shape("images", &shape).map_err(raise)?;
        // Copied now: JavaScript may write to its array while the call waits for its turn.
        let images = copy_of(&images).map_err(raise)?;
        let batch = if training { shape[0] } else { batch_size as usize };
        let mode = match (training, both_ways) {
            (true, _) => ForwardMode::Training,
            (false, true) => ForwardMode::BothWays,
            (false, false) => ForwardMode::Inference,
        };
        self.read(env, cancel, move |session| forward(session, &images, shape, &mode, batch))
    }

    /// What a layer, or whatever comes before the head, returns for images, in batches of `batch_size` of them.
    #[napi]
    pub fn features<'env>(
        &self,
        env: &'env Env,
        images: Float32Array,
        shape: Vec<u32>,
        layer: Option<String>,
        batch_size: u32,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeTensor>> {
        let shape = image_shape("images", &shape).map_err(raise)?;
        let images = copy_of(&images).map_err(raise)?;
        let mode = ForwardMode::Features(layer);
        self.read(env, cancel, move |session| forward(session, &images, shape, &mode, batch_size as usize))
    }

    /// Mean loss and accuracy over a data set, and what else is asked for; see [`Session::measure`].
    #[napi]
    pub fn evaluate<'env>(
        &self,
        env: &'env Env,
        data: &NativeDataset,
        batch_size: u32,
        flips: bool,
        top_k: Option<u32>,
        by_class: bool,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeEvaluation>> {
        let data = data.shared();
        let (batch_size, top_k) = (batch_size as usize, top_k.map(|k| k as usize));
        let measuring = Measuring { batch_size, flips, top_k, by_class };
        self.read(env, cancel, move |session| session.measure(&data, &measuring))
    }

    /// Parameters and running statistics by state-dict name.
    #[napi]
    pub fn state_dict<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Vec<NamedTensor>>> {
        self.read(env, &CancelFlag::default(), |session| session.state_dict().map(NamedTensors))
    }

    /// Writes network and weights to a file.
    #[napi]
    pub fn save<'env>(&self, env: &'env Env, path: String, cancel: &CancelFlag) -> napi::Result<PromiseRaw<'env, ()>> {
        self.read(env, cancel, move |session| session.save(&PathBuf::from(path)))
    }

    /// Writes network and weights to an ONNX file; see [`OnnxOptions::from_json`].
    #[napi]
    pub fn export_onnx<'env>(
        &self,
        env: &'env Env,
        path: String,
        options: String,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeExported>> {
        let options = OnnxOptions::from_json(&options).map_err(raise)?;
        self.read(env, cancel, move |session| session.export_onnx(&PathBuf::from(path), &options))
    }

    /// Takes the weights of a file.
    #[napi]
    pub fn load_weights<'env>(
        &self,
        env: &'env Env,
        path: String,
        options: NativeLoadOptions,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeLoadReport>> {
        let writer = self.actor.writer().map_err(raise)?;
        let (reply, promise) = Reply::new(env)?;
        self.actor.call(reply, cancel.0.clone(), Some(writer), move |context| {
            context.session.load_weights(&PathBuf::from(path), &options.into())
        });
        Ok(promise)
    }

    /// What pictures it takes and what its outputs mean, as JSON; see [`Interface`].
    #[napi(getter)]
    pub fn interface(&self) -> String {
        self.actor.interface().to_json()
    }

    /// Says what pictures it takes and what its outputs mean.
    #[napi]
    pub fn set_interface<'env>(&self, env: &'env Env, interface: String) -> napi::Result<PromiseRaw<'env, ()>> {
        let interface = Interface::from_json(&interface).map_err(raise)?;
        let writer = self.actor.writer().map_err(raise)?;
        let (reply, promise) = Reply::new(env)?;
        self.actor.call(reply, CancelFlag::default().0, Some(writer), move |context| {
            context.session.set_interface(interface)
        });
        Ok(promise)
    }

    /// The most probable classes of images; see [`Session::classify`].
    #[napi]
    pub fn classify<'env>(
        &self,
        env: &'env Env,
        images: Float32Array,
        shape: Vec<u32>,
        top: u32,
        flip: bool,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, Vec<Vec<NativePrediction>>>> {
        let shape = image_shape("images", &shape).map_err(raise)?;
        let images = copy_of(&images).map_err(raise)?;
        self.read(env, cancel, move |session| {
            let images = Images { data: &images, shape };
            session.classify(images, top as usize, flip).map(Classified)
        })
    }

    /// Heat maps of images, of one class or the most probable one of each; see [`Session::grad_cam`].
    #[napi]
    pub fn grad_cam<'env>(
        &self,
        env: &'env Env,
        images: Float32Array,
        shape: Vec<u32>,
        layer: Option<String>,
        class_index: Option<u32>,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeHeatMaps>> {
        let shape = image_shape("images", &shape).map_err(raise)?;
        let images = copy_of(&images).map_err(raise)?;
        self.read(env, cancel, move |session| {
            session.grad_cam(Images { data: &images, shape }, layer.as_deref(), class_index)
        })
    }

    /// Finds the temperature that fits a data set best; see [`Session::calibrate`].
    #[napi]
    pub fn calibrate<'env>(
        &self,
        env: &'env Env,
        data: &NativeDataset,
        batch_size: u32,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeCalibration>> {
        let data = data.shared();
        let writer = self.actor.writer().map_err(raise)?;
        let (reply, promise) = Reply::new(env)?;
        self.actor.call(reply, cancel.0.clone(), Some(writer), move |context| {
            context.session.calibrate(&data, batch_size as usize)
        });
        Ok(promise)
    }

    /// Rounds weights to bytes, and measures what inference needs for inputs to become bytes too; see [`Session::quantize`].
    #[napi]
    pub fn quantize<'env>(
        &self,
        env: &'env Env,
        data: &NativeDataset,
        images: u32,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeQuantized>> {
        let data = data.shared();
        let writer = self.actor.writer().map_err(raise)?;
        let (reply, promise) = Reply::new(env)?;
        self.actor.call(reply, cancel.0.clone(), Some(writer), move |context| {
            context.session.quantize(&data, images as usize)
        });
        Ok(promise)
    }

    /// Starts training; see [`FitConfig::from_json`].
    #[napi]
    pub fn fit(
        &self,
        train: &NativeDataset,
        validation: Option<&NativeDataset>,
        config: String,
        ranks: Option<GivenRanks>,
    ) -> napi::Result<NativeRun> {
        let config = FitConfig::from_json(&config).map_err(raise)?;
        let (train, validation) = (train.shared(), validation.map(NativeDataset::shared));
        NativeRun::start(&self.actor, train, validation, config, ranks).map_err(raise)
    }

    /// The losses at rates that grow; see [`FinderConfig::from_json`]. The model stays as it was.
    #[napi]
    pub fn find_learning_rate<'env>(
        &self,
        env: &'env Env,
        train: &NativeDataset,
        config: String,
        cancel: &CancelFlag,
    ) -> napi::Result<PromiseRaw<'env, NativeCurve>> {
        let config = FinderConfig::from_json(&config).map_err(raise)?;
        let writer = self.actor.writer().map_err(raise)?;
        let (reply, promise) = Reply::new(env)?;
        let train = train.shared();
        self.actor.call(reply, cancel.0.clone(), Some(writer), move |context| {
            find_learning_rate(context.session, &train, &config)
        });
        Ok(promise)
    }

    /// A trainer with an optimiser of its own; see [`UpdateConfig::from_json`].
    #[napi]
    pub fn trainer(&self, config: String) -> napi::Result<NativeTrainer> {
        let config = UpdateConfig::from_json(&config).map_err(raise)?;
        let number = self.trainers.fetch_add(1, Ordering::Relaxed);
        Ok(NativeTrainer::new(self.actor.clone(), number, config))
    }

    /// Stops what runs, ends the thread and frees its memory.
    #[napi]
    pub fn dispose(&self, env: Env) {
        self.actor.close();
        self.actor.memory().forget(&env);
    }
}

impl ObjectFinalize for NativeModel {
    fn finalize(self, env: Env) -> napi::Result<()> {
        self.actor.memory().forget(&env);
        Ok(())
    }
}

impl NativeModel {
    /// A call that leaves the weights as they are.
    fn read<'env, T, V>(
        &self,
        env: &'env Env,
        cancel: &CancelFlag,
        body: impl FnOnce(&mut Session) -> resnet_core::Result<V> + Send + 'static,
    ) -> napi::Result<PromiseRaw<'env, T>>
    where
        T: ToNapiValue + 'static,
        V: Into<T> + Send + 'static,
    {
        let (reply, promise) = Reply::new(env)?;
        self.actor.call(reply, cancel.0.clone(), None, move |context| body(context.session));
        Ok(promise)
    }
}

/// Which output is computed, and how.
enum ForwardMode {
    /// With running statistics.
    Inference,
    /// With the batch's statistics, and dropout.
    Training,
    /// As in inference, averaged over images and their mirror images.
    BothWays,
    /// In inference, that of the layer with this name, or of what comes before the head.
    Features(Option<String>),
}

/// Batch after batch, so that memory is that of one batch.
fn forward(
    session: &mut Session,
    images: &[f32],
    shape: [usize; 4],
    mode: &ForwardMode,
    batch_size: usize,
) -> resnet_core::Result<Tensor> {
    let [n, c, h, w] = shape;
    let mut run = |images: Images| match mode {
        ForwardMode::Inference => session.forward(images, false),
        ForwardMode::Training => session.forward(images, true),
        ForwardMode::BothWays => session.forward_both_ways(images),
        ForwardMode::Features(layer) => session.features(images, layer.as_deref()),
    };
    if n <= batch_size {
        return run(Images { data: images, shape });
    }
    let mut output: Option<Tensor> = None;
    for batch in images.chunks(batch_size * c * h * w) {
        let batch = Images { data: batch, shape: [batch.len() / (c * h * w), c, h, w] };
        let part = run(batch)?;
        match &mut output {
            Some(whole) => whole.append(&part),
            None => output = Some(part.with_room(n)?),
        }
    }
    output.ok_or_else(|| Error::expected(Code::Shape, "images", "at least 1 value", 0))
}

/// What the thread tells about a loaded model.
struct Loaded {
    actor: Arc<Actor>,
    network: Layer,
}

impl From<Loaded> for NativeModel {
    fn from(Loaded { actor, network }: Loaded) -> Self {
        Self { actor, network, trainers: AtomicUsize::new(0) }
    }
}

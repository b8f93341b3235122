//! Convolution as an [`Op`].

use super::ops::{gradient, Op};
use super::{activation, blank_activation, buffer, elements, flat_of, garbage, read_activation, Parameters, Random};
use resnet_ops::batch_norm::{self, Backward, BatchNorm, ForwardTrain, Moments, Statistics};
use resnet_ops::conv2d::{self, Conv2d, ConvShape, Forward, FusedNorm, InputGradient, InputRange, WeightGradient};
use resnet_ops::{Buffer, DType, Executor, GradientTarget, Pass, Result};

/// Convolution; inputs: parameters, x (without a gradient if it is plain).
#[derive(Debug)]
pub struct Convolution {
    pub n: usize,
    pub shape: ConvShape,
    /// Whether its weights change from call to call.
    pub training: bool,
    /// What x lies between, if the convolution is quantised.
    pub range: Option<InputRange>,
}

/// One without groups, padded so that with stride 1 the output is as large as the input.
pub fn dense(n: usize, channels: [usize; 2], kernel: usize, stride: usize, input: [usize; 2]) -> Convolution {
    let shape = ConvShape {
        in_channels: channels[0],
        out_channels: channels[1],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [kernel / 2; 2],
        groups: 1,
        bias: n.is_multiple_of(2),
        input,
        plain_input: false,
    };
    Convolution::new(n, shape)
}

impl Convolution {
    pub fn new(n: usize, shape: ConvShape) -> Self {
        Self { n, shape, training: false, range: None }
    }

    pub fn prepared(&self, executor: &Executor) -> Result<Conv2d> {
        let conv = match self.range {
            Some(range) => Conv2d::quantized(executor, self.shape.clone(), range)?,
            None => Conv2d::new(executor, self.shape.clone())?,
        };
        Ok(if self.training { conv.for_training() } else { conv })
    }

    fn input_shape(&self) -> [usize; 4] {
        [self.n, self.shape.in_channels, self.shape.input[0], self.shape.input[1]]
    }

    fn output_shape(&self) -> [usize; 4] {
        let [height, width] = self.shape.output();
        [self.n, self.shape.out_channels, height, width]
    }

    fn x(&self, executor: &Executor, values: &[f64]) -> Result<Buffer> {
        if self.shape.plain_input {
            Ok(flat_of(executor, executor.parameter_dtype(), values))
        } else {
            activation(executor, self.input_shape(), values)
        }
    }

    fn packed(&self, executor: &Executor, conv: &Conv2d, pass: Pass, params: &Parameters) -> Result<Buffer> {
        let mut packed = garbage(executor, executor.dtype(), conv.packed_len(pass));
        conv2d::pack(executor, conv, self.n, pass, params.view(), &mut packed)?;
        Ok(packed)
    }

    fn scratch(&self, executor: &Executor, conv: &Conv2d, pass: Pass) -> Buffer {
        garbage(executor, executor.dtype(), conv.scratch_len(pass, self.n))
    }

    /// act(conv(x) + bias + shortcut).
    pub fn forward_with(
        &self,
        executor: &Executor,
        inputs: &[Vec<f64>],
        shortcut: Option<&[f64]>,
        relu: bool,
    ) -> Result<Vec<f64>> {
        let conv = self.prepared(executor)?;
        let params = Parameters::new(executor, &inputs[0]);
        let packed = self.packed(executor, &conv, Pass::Forward, &params)?;
        let x = self.x(executor, &inputs[1])?;
        let mut y = blank_activation(executor, self.output_shape());
        let mut scratch = self.scratch(executor, &conv, Pass::Forward);
        let shortcut = shortcut.map(|values| activation(executor, self.output_shape(), values)).transpose()?;
        let n = self.n;
        let mut write = |packed: &Buffer, y: &mut Buffer, moments: Option<Moments>| {
            let (params, scratch, shortcut) = (params.view(), &mut scratch, shortcut.as_ref());
            let call = Forward { n, x: &x, params, packed, scratch, y, shortcut, relu, moments };
            conv2d::forward(executor, &conv, call)
        };
        write(&packed, &mut y, None)?;

        let output = read_activation(executor, self.output_shape(), &y)?;

        // The same output when its moments are asked for, but perhaps for the bias, and they are those of the output.
        if conv2d::elides_bias(executor) {
            let silent = [&inputs[0][..self.shape.weight_len()], &vec![0.0; self.biases()]].concat();
            let packed = self.packed(executor, &conv, Pass::Forward, &Parameters::new(executor, &silent))?;
            write(&packed, &mut y, None)?;
        }
        let [_, channels, height, width] = self.output_shape();
        let norm = BatchNorm { channels, size: [height, width], eps: 1e-5, momentum: 0.1, relu: false };
        let [mut moments, mut expected] = [(); 2].map(|()| self.moments(executor, &norm));
        let mut again = blank_activation(executor, self.output_shape());
        let [sums, saved] = &mut moments;
        write(&packed, &mut again, Some(Moments { op: &norm, sums, saved }))?;
        let [sums, saved] = &mut expected;
        batch_norm::moments(executor, n, &y, Moments { op: &norm, sums, saved })?;
        assert_eq!(moments.each_ref().map(bits), expected.each_ref().map(bits), "moments");
        let [expected, again] = [&y, &again].map(|y| read_activation(executor, self.output_shape(), y).unwrap());
        assert!(expected == again, "another output with moments");
        Ok(output)
    }

    /// Number of biases.
    fn biases(&self) -> usize {
        self.shape.params_len() - self.shape.weight_len()
    }

    /// Room for the moments of the output, and for the statistics made of them.
    fn moments(&self, executor: &Executor, norm: &BatchNorm) -> [Buffer; 2] {
        let sums = garbage(executor, DType::F64, norm.sums_len(self.n));
        [sums, garbage(executor, executor.parameter_dtype(), norm.saved_len())]
    }

    /// Has an executor do all three passes, or what there is of them, the gradient of the input also on top of what is there.
    pub fn ask(&self, executor: &Executor) -> Result<()> {
        let conv = self.prepared(executor)?;
        let zeros = |[n, c, h, w]: [usize; 4]| executor.zeros(executor.dtype(), executor.activation_len(n, c, h, w));
        let x = match self.shape.plain_input {
            true => executor.zeros(executor.parameter_dtype(), self.input_shape().iter().product())?,
            false => zeros(self.input_shape())?,
        };
        let (dy, mut y, mut dx) =
            (zeros(self.output_shape())?, zeros(self.output_shape())?, zeros(self.input_shape())?);
        let mut params = Parameters::blank(executor, self.shape.params_len());
        let (n, params_view) = (self.n, params.view());
        let packed = self.packed(executor, &conv, Pass::Forward, &params)?;
        let mut scratch = self.scratch(executor, &conv, Pass::Forward);
        let call = Forward {
            n,
            x: &x,
            params: params_view,
            packed: &packed,
            scratch: &mut scratch,
            y: &mut y,
            shortcut: None,
            relu: false,
            moments: None,
        };
        conv2d::forward(executor, &conv, call)?;
        if !self.shape.plain_input {
            let packed = self.packed(executor, &conv, Pass::InputGradient, &params)?;
            let mut scratch = self.scratch(executor, &conv, Pass::InputGradient);
            for accumulate in [false, true] {
                let (params, dx) = (params.view(), GradientTarget { buffer: &mut dx, accumulate });
                let call = InputGradient { n, dy: &dy, params, packed: &packed, scratch: &mut scratch, dx, norm: None };
                conv2d::input_gradient(executor, &conv, call)?;
            }
        }
        let mut scratch = self.scratch(executor, &conv, Pass::WeightGradient);
        let grads = params.view_mut();
        conv2d::weight_gradient(
            executor,
            &conv,
            WeightGradient { n, x: &x, dy: &dy, scratch: &mut scratch, grads, skip_bias: false },
        )
    }

    pub fn weight_gradient(&self, executor: &Executor, x: &[f64], dy: &[f64], skip_bias: bool) -> Result<Vec<f64>> {
        let conv = self.prepared(executor)?;
        let x = self.x(executor, x)?;
        let dy = activation(executor, self.output_shape(), dy)?;
        let mut scratch = self.scratch(executor, &conv, Pass::WeightGradient);
        let mut grads = Parameters::blank(executor, self.shape.params_len());
        let (n, scratch, view) = (self.n, &mut scratch, grads.view_mut());
        conv2d::weight_gradient(
            executor,
            &conv,
            WeightGradient { n, x: &x, dy: &dy, scratch, grads: view, skip_bias },
        )?;
        Ok(grads.read())
    }

    pub fn input_gradient(
        &self,
        executor: &Executor,
        inputs: &[Vec<f64>],
        dy: &[f64],
        accumulate: bool,
    ) -> Result<Vec<f64>> {
        let conv = self.prepared(executor)?;
        let params = Parameters::new(executor, &inputs[0]);
        let packed = self.packed(executor, &conv, Pass::InputGradient, &params)?;
        let dy = activation(executor, self.output_shape(), dy)?;
        let blank = || gradient(executor, self.input_shape(), &inputs[1], accumulate);
        let mut scratch = self.scratch(executor, &conv, Pass::InputGradient);
        let mut write = |dx: &mut Buffer, norm: Option<FusedNorm>| {
            let (n, params, scratch) = (self.n, params.view(), &mut scratch);
            let dx = GradientTarget { buffer: dx, accumulate };
            let call = InputGradient { n, dy: &dy, params, packed: &packed, scratch, dx, norm };
            conv2d::input_gradient(executor, &conv, call)
        };
        let mut dx = blank()?;
        write(&mut dx, None)?;
        if batch_norm::fuses_backward(executor) {
            self.check_fused_norm(executor, &inputs[1], &dx, accumulate, |norm| {
                let mut dx = blank()?;
                write(&mut dx, Some(norm))?;
                Ok(dx)
            })?;
        }
        read_activation(executor, self.input_shape(), &dx)
    }
}

impl Convolution {
    /// Holds the backward of a batch norm that an input gradient begins to that which begins with the finished gradient `dx`.
    /// `write` is given the norm and returns what became of dx. Of four kinds of norm two are tried: where gradients are added, or the
    /// number of images is another, the other two.
    fn check_fused_norm(
        &self,
        executor: &Executor,
        x: &[f64],
        dx: &Buffer,
        accumulate: bool,
        mut write: impl FnMut(FusedNorm) -> Result<Buffer>,
    ) -> Result<()> {
        let ([n, channels, height, width], x) = (self.input_shape(), activation(executor, self.input_shape(), x)?);
        let values: Vec<f64> = (0..2 * channels).map(|i| (i * 7 % 5) as f64 / 2.0 - 0.75).collect();
        let params = Parameters::new(executor, &values);
        let (batch, running) = (Statistics::Batch, Statistics::Running);
        let kinds = [[(false, false, batch), (true, true, batch)], [(true, false, batch), (true, false, running)]];
        for (relu, adds, statistics) in kinds[(n + usize::from(accumulate)) % 2] {
            let op = &BatchNorm { channels, size: [height, width], eps: 1e-5, momentum: 0.1, relu };
            let [mut moments, mut sums, mut expected] = [(); 3].map(|()| garbage(executor, DType::F64, op.sums_len(n)));
            let mut saved = garbage(executor, executor.parameter_dtype(), op.saved_len());
            let (mut y, shortcut) = (blank_activation(executor, self.input_shape()), adds.then_some(&x));
            batch_norm::moments(executor, n, &x, Moments { op, sums: &mut moments, saved: &mut saved })?;
            let call = ForwardTrain {
                n,
                x: &x,
                shortcut,
                params: params.view(),
                moments: &moments,
                saved: &mut saved,
                y: &mut y,
            };
            batch_norm::forward_train(executor, op, call)?;

            let y = adds.then_some(&y);
            let norm = FusedNorm { op, x: &x, params: params.view(), saved: &saved, y, sums: &mut sums };
            let (mut found, mut whole) = (write(norm)?, buffer(executor, executor.dtype(), &elements(dx)));
            let [mut found_dx, mut whole_dx] = [(); 2].map(|()| blank_activation(executor, self.input_shape()));
            let [mut grads, mut whole_grads] = [(); 2].map(|()| Parameters::blank(executor, 2 * channels));
            let begun = bits(&sums);
            let call = Backward {
                n,
                x: &x,
                y,
                params: params.view(),
                saved: &saved,
                sums: &mut sums,
                dy: &mut found,
                dx: adds.then_some(&mut found_dx),
                grads: grads.view_mut(),
                statistics,
            };
            batch_norm::finish_backward(executor, op, call)?;
            let call = Backward {
                n,
                x: &x,
                y,
                params: params.view(),
                saved: &saved,
                sums: &mut expected,
                dy: &mut whole,
                dx: adds.then_some(&mut whole_dx),
                grads: whole_grads.view_mut(),
                statistics,
            };
            batch_norm::backward(executor, op, call)?;
            assert_eq!(begun, bits(&expected), "sums, ReLU {relu}, shortcut {adds}");
            assert_eq!(bits(&found), bits(&whole), "gradient, ReLU {relu}, shortcut {adds}");
            assert_eq!(bits(&found_dx), bits(&whole_dx), "gradient of x, ReLU {relu}, shortcut {adds}");
            assert_eq!(grads.read(), whole_grads.read(), "gradients of parameters, ReLU {relu}, shortcut {adds}");
        }
        Ok(())
    }
}

impl Op for Convolution {
    fn inputs(&self, random: &mut Random) -> Vec<Vec<f64>> {
        vec![random.values(self.shape.params_len()), random.values(self.input_shape().iter().product())]
    }

    fn forward(&self, executor: &Executor, inputs: &[Vec<f64>]) -> Result<Vec<f64>> {
        self.forward_with(executor, inputs, None, false)
    }

    fn backward(
        &self,
        executor: &Executor,
        inputs: &[Vec<f64>],
        dy: &[f64],
        accumulate: bool,
    ) -> Result<Vec<Vec<f64>>> {
        let mut gradients = vec![self.weight_gradient(executor, &inputs[1], dy, false)?];
        if !self.shape.plain_input {
            gradients.push(self.input_gradient(executor, inputs, dy, accumulate)?);
        }
        Ok(gradients)
    }

    fn accumulates(&self, input: usize) -> bool {
        input == 1 && !self.shape.plain_input
    }
}

fn bits(buffer: &Buffer) -> Vec<u64> {
    elements(buffer).iter().map(|value| value.to_bits()).collect()
}

//! The one-dimensional transforms of a tile, and how they apply to both its sides.
//!
//! y = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A for a tile d of pixels, a 3x3 kernel w and m² outputs y: F(4, 3), with the points 0, 1, −1,
//! 2, −2, ∞, and F(3, 3), with 0, 1, −1, 2, ∞. Transposed, the same matrices give the weight gradient:
//! dw = Gᵀ[(Bᵀ d B) ⊙ (A dy Aᵀ)]G.
//!
//! With stride 2, along one side, a kernel's outer weights meet every other pixel, the middle one those between:
//!
//! ```text
//!   y[i] = w0·d[2i] + w2·d[2i + 2]  +  w1·d[2i + 1]        4 points of F(3, 2): 0, 1, −1, ∞; then 3 products of w1 as it is
//! ```
//!
//! That makes 7 products a side for 3 outputs, where the direct kernel needs 9, and their weights 5 points, the last of which
//! serves three. The input gradient goes the same way: dx\[2i + 1\] = w2·dy\[i\] + w0·dy\[i + 1\] and dx\[2i\] = w1·dy\[i\].
//!
//! A map of three pixels a side, padding included, needs no more than 4 points, as its outermost windows meet zeros: with
//! A = (a b c d), a, b = (1, ±3/2, 1) and c, d = (1, ±1/2, −1), any d1, d2, d3 have four numbers v of which
//!
//! ```text
//!   ⎡ 0  d1 d2 ⎤
//!   ⎢ d1 d2 d3 ⎥ = v0·a aᵀ + v1·b bᵀ + v2·c cᵀ + v3·d dᵀ        and that times w is y
//!   ⎣ d2 d3 0  ⎦
//! ```
//!
//! ```text
//!    columns first              then rows
//!   ┌ │ │ │ │ │ │ ┐  FROM × TO  ┌ ───────── ┐
//!   │ ↓ ↓ ↓ ↓ ↓ ↓ │ ──────────▶ │ ────────▶ │   each arrow one transform of vectors of 16 channels
//!   └ │ │ │ │ │ │ ┘             └ ───────── ┘
//! ```

use crate::simd::Simd;

/// Longest side of a tile, in pixels or points.
pub(super) const MOST_SIDE: usize = 7;

/// A line of a tile, in vectors of 16 channels; a shorter one leaves the rest unused.
pub(super) type Line<S> = [<S as Simd>::V; MOST_SIDE];

/// A linear map between lines.
pub(super) trait Transform {
    /// Values read and values made.
    const FROM: usize;
    const TO: usize;
    unsafe fn apply<S: Simd>(line: Line<S>) -> Line<S>;
}

/// The transforms of one kind of tile.
pub(super) trait Form {
    /// Bᵀ: pixels to points.
    type Input: Transform;
    /// Aᵀ: points to outputs.
    type Output: Transform;
    /// For the input gradient: output gradients to points, and points to input gradients.
    type BackInput: Transform;
    type BackOutput: Transform;
    /// A: output gradients to points, for the weight gradient.
    type Gradient: Transform;
    /// G: weights to points.
    type Weights: Transform;
    /// Gᵀ: points to weight gradients.
    type WeightGradient: Transform;
}

/// Which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Four,
    Three,
    Whole,
    StridedThree,
}

/// Evaluates an expression with the form of a size as a type.
macro_rules! with_form {
    ($size:expr, $form:ident => $body:expr) => {
        match $size {
            $crate::conv2d::cpu::winograd::form::Size::Four => {
                type $form = $crate::conv2d::cpu::winograd::form::Four;
                $body
            }
            $crate::conv2d::cpu::winograd::form::Size::Three => {
                type $form = $crate::conv2d::cpu::winograd::form::Three;
                $body
            }
            $crate::conv2d::cpu::winograd::form::Size::Whole => {
                type $form = $crate::conv2d::cpu::winograd::form::Whole;
                $body
            }
            $crate::conv2d::cpu::winograd::form::Size::StridedThree => {
                type $form = $crate::conv2d::cpu::winograd::form::StridedThree;
                $body
            }
        }
    };
}
pub(super) use with_form;

impl Size {
    /// Outputs of a tile along one side.
    pub(super) fn outputs(self) -> usize {
        with_form!(self, F => <F as Form>::Output::TO)
    }

    /// Pixels from an output's window to the next's.
    pub(super) fn stride(self) -> usize {
        if self == Self::StridedThree {
            2
        } else {
            1
        }
    }

    /// Points along one side, of tiles and of weights.
    fn sides(self) -> (usize, usize) {
        with_form!(self, F => (<F as Form>::Input::TO, <F as Form>::Weights::TO))
    }

    /// Products of a tile for a pair of channels.
    pub(super) fn points(self) -> usize {
        self.sides().0.pow(2)
    }

    /// Points of the weights between a pair of channels.
    pub(super) fn weights(self) -> usize {
        self.sides().1.pow(2)
    }

    /// The point of the weights that a point of tiles is multiplied by.
    pub(super) fn weights_of(self, point: usize) -> usize {
        let (side, weights) = self.sides();
        (point / side).min(weights - 1) * weights + (point % side).min(weights - 1)
    }

    /// The points of tiles that a point of the weights multiplies.
    pub(super) fn points_of(self, weights: usize) -> impl Iterator<Item = usize> {
        (0..self.points()).filter(move |&point| self.weights_of(point) == weights)
    }
}

/// Applies a transform to both sides: `column(j)` gives column j of a tile, `row(i, line)` takes row i of the result.
#[inline(always)]
pub(super) unsafe fn both<S: Simd, T: Transform>(
    column: impl Fn(usize) -> Line<S>,
    mut row: impl FnMut(usize, Line<S>),
) {
    // SAFETY: arithmetic on registers, in code compiled for the instruction set.
    unsafe {
        let mut half = [[S::splat(0.0); MOST_SIDE]; MOST_SIDE];
        for j in 0..T::FROM {
            half[j] = T::apply::<S>(column(j));
        }
        for i in 0..T::TO {
            let mut line = [S::splat(0.0); MOST_SIDE];
            for j in 0..T::FROM {
                line[j] = half[j][i];
            }
            row(i, T::apply::<S>(line));
        }
    }
}

macro_rules! transform {
    ($name:ident<$S:ident>: $from:literal to $to:literal, |$line:ident| $body:expr) => {
        pub(super) struct $name;
        impl Transform for $name {
            const FROM: usize = $from;
            const TO: usize = $to;
            #[inline(always)]
            unsafe fn apply<$S: Simd>($line: Line<$S>) -> Line<$S> {
                // SAFETY: arithmetic on registers, in code compiled for the instruction set.
                unsafe {
                    let made: [$S::V; $to] = $body;
                    let mut line = [$S::splat(0.0); MOST_SIDE];
                    line[..$to].copy_from_slice(&made);
                    line
                }
            }
        }
    };
}

/// F(4x4, 3x3): 36 products for 16 outputs.
pub(super) struct Four;
impl Form for Four {
    type Input = Input4;
    type Output = Output4;
    type BackInput = Input4;
    type BackOutput = Output4;
    type Gradient = Gradient4;
    type Weights = Weights4;
    type WeightGradient = WeightGradient4;
}

/// F(3x3, 3x3): 25 products for 9 outputs.
pub(super) struct Three;
impl Form for Three {
    type Input = Input3;
    type Output = Output3;
    type BackInput = Input3;
    type BackOutput = Output3;
    type Gradient = Gradient3;
    type Weights = Weights3;
    type WeightGradient = WeightGradient3;
}

/// A whole map of 3x3: 16 products for 9 outputs.
pub(super) struct Whole;
impl Form for Whole {
    type Input = WholeInput;
    type Output = WholeOutput;
    type BackInput = WholeInput;
    type BackOutput = WholeOutput;
    type Gradient = WholeGradient;
    type Weights = WholeWeights;
    type WeightGradient = WholeWeightGradient;
}

/// Stride 2, 3 outputs a side: 49 products for 9 outputs.
pub(super) struct StridedThree;
impl Form for StridedThree {
    type Input = StridedInput;
    type Output = StridedOutput;
    type BackInput = StridedBackInput;
    type BackOutput = StridedBackOutput;
    type Gradient = StridedGradient;
    type Weights = StridedWeights;
    type WeightGradient = StridedWeightGradient;
}

transform!(Input4<S>: 6 to 6, |d| {
    let (two, four) = (S::splat(2.0), S::splat(4.0));
    let (minus_two, minus_four, minus_five) = (S::splat(-2.0), S::splat(-4.0), S::splat(-5.0));
    let (even, odd) = (S::fma(minus_four, d[2], d[4]), S::fma(minus_four, d[1], d[3]));
    let (even2, odd2) = (S::sub(d[4], d[2]), S::sub(d[3], d[1]));
    [
        S::fma(four, d[0], S::fma(minus_five, d[2], d[4])),
        S::add(even, odd),
        S::sub(even, odd),
        S::fma(two, odd2, even2),
        S::fma(minus_two, odd2, even2),
        S::fma(four, d[1], S::fma(minus_five, d[3], d[5])),
    ]
});

transform!(Output4<S>: 6 to 4, |m| {
    let (two, four, eight) = (S::splat(2.0), S::splat(4.0), S::splat(8.0));
    let (even, odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
    let (even2, odd2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
    [
        S::add(S::add(m[0], even), even2),
        S::fma(two, odd2, odd),
        S::fma(four, even2, even),
        S::add(S::fma(eight, odd2, odd), m[5]),
    ]
});

transform!(Gradient4<S>: 4 to 6, |y| {
    let (two, four) = (S::splat(2.0), S::splat(4.0));
    let (even, odd) = (S::add(y[0], y[2]), S::add(y[1], y[3]));
    let (even2, odd2) = (S::fma(four, y[2], y[0]), S::mul(two, S::fma(four, y[3], y[1])));
    [y[0], S::add(even, odd), S::sub(even, odd), S::add(even2, odd2), S::sub(even2, odd2), y[3]]
});

transform!(Weights4<S>: 3 to 6, |w| {
    let (quarter, sixth) = (S::splat(0.25), S::splat(-1.0 / 6.0));
    let (even, odd) = (S::mul(sixth, S::add(w[0], w[2])), S::mul(sixth, w[1]));
    let even2 = S::fma(S::splat(1.0 / 24.0), w[0], S::mul(S::splat(1.0 / 6.0), w[2]));
    let odd2 = S::mul(S::splat(1.0 / 12.0), w[1]);
    [
        S::mul(quarter, w[0]),
        S::add(even, odd),
        S::sub(even, odd),
        S::add(even2, odd2),
        S::sub(even2, odd2),
        w[2],
    ]
});

transform!(WeightGradient4<S>: 6 to 3, |u| {
    let sixth = S::splat(1.0 / 6.0);
    let (even, odd) = (S::add(u[1], u[2]), S::sub(u[2], u[1]));
    let (even2, odd2) = (S::add(u[3], u[4]), S::sub(u[3], u[4]));
    [
        S::fma(S::splat(0.25), u[0], S::fma(S::splat(-1.0 / 6.0), even, S::mul(S::splat(1.0 / 24.0), even2))),
        S::fma(sixth, odd, S::mul(S::splat(1.0 / 12.0), odd2)),
        S::fma(sixth, S::sub(even2, even), u[5]),
    ]
});

transform!(Input3<S>: 5 to 5, |d| {
    let (two, minus_two, minus_three) = (S::splat(2.0), S::splat(-2.0), S::splat(-3.0));
    let odd = S::sub(d[3], d[1]);
    [
        S::fma(two, S::sub(d[0], d[2]), odd),
        S::sub(S::fma(minus_two, d[1], d[3]), d[2]),
        S::fma(two, d[1], S::fma(minus_three, d[2], d[3])),
        odd,
        S::fma(minus_two, odd, S::sub(d[4], d[2])),
    ]
});

transform!(Output3<S>: 5 to 3, |m| {
    let (two, four) = (S::splat(2.0), S::splat(4.0));
    let even = S::add(m[1], m[2]);
    [
        S::add(S::add(m[0], even), m[3]),
        S::fma(two, m[3], S::sub(m[1], m[2])),
        S::add(S::fma(four, m[3], even), m[4]),
    ]
});

transform!(Gradient3<S>: 3 to 5, |y| {
    let two = S::splat(2.0);
    let even = S::add(y[0], y[2]);
    [
        y[0],
        S::add(even, y[1]),
        S::sub(even, y[1]),
        S::fma(two, S::fma(two, y[2], y[1]), y[0]),
        y[2],
    ]
});

transform!(Weights3<S>: 3 to 5, |w| {
    let (two, half, sixth) = (S::splat(2.0), S::splat(0.5), S::splat(1.0 / 6.0));
    let even = S::add(w[0], w[2]);
    [
        S::mul(half, w[0]),
        S::mul(S::splat(-0.5), S::add(even, w[1])),
        S::mul(sixth, S::sub(w[1], even)),
        S::mul(sixth, S::fma(two, S::fma(two, w[2], w[1]), w[0])),
        w[2],
    ]
});

transform!(WeightGradient3<S>: 5 to 3, |u| {
    let (two, four, half) = (S::splat(2.0), S::splat(4.0), S::splat(0.5));
    let sixth = S::splat(1.0 / 6.0);
    let (first, second, third) = (S::mul(half, u[1]), S::mul(sixth, u[2]), S::mul(sixth, u[3]));
    let even = S::add(first, second);
    [
        S::sub(S::fma(half, u[0], third), even),
        S::fma(two, third, S::sub(second, first)),
        S::fma(four, third, S::sub(u[4], even)),
    ]
});

transform!(WholeInput<S>: 3 to 4, |d| {
    let (two, minus_two, three) = (S::splat(2.0), S::splat(-2.0), S::splat(3.0));
    let (even, odd, middle) = (S::add(d[0], d[2]), S::sub(d[0], d[2]), S::mul(three, d[1]));
    [
        S::fma(two, even, middle),
        S::fma(minus_two, even, middle),
        S::sub(S::mul(two, odd), d[1]),
        S::sub(S::mul(minus_two, odd), d[1]),
    ]
});

transform!(WholeOutput<S>: 4 to 3, |m| {
    let (first, second) = (S::add(m[0], m[1]), S::add(m[2], m[3]));
    let (first_odd, second_odd) = (S::sub(m[0], m[1]), S::sub(m[2], m[3]));
    [
        S::add(first, second),
        S::fma(S::splat(1.5), first_odd, S::mul(S::splat(0.5), second_odd)),
        S::sub(first, second),
    ]
});

transform!(WholeGradient<S>: 3 to 4, |y| {
    let (even, odd) = (S::add(y[0], y[2]), S::sub(y[0], y[2]));
    [
        S::fma(S::splat(1.5), y[1], even),
        S::fma(S::splat(-1.5), y[1], even),
        S::fma(S::splat(0.5), y[1], odd),
        S::fma(S::splat(-0.5), y[1], odd),
    ]
});

transform!(WholeWeights<S>: 3 to 4, |w| {
    let (even, odd) = (S::mul(S::splat(1.0 / 12.0), S::add(w[0], w[2])), S::mul(S::splat(0.25), S::sub(w[0], w[2])));
    let middle = S::mul(S::splat(0.125), w[1]);
    [S::add(even, middle), S::sub(even, middle), S::add(odd, middle), S::sub(odd, middle)]
});

transform!(WholeWeightGradient<S>: 4 to 3, |u| {
    let (even, odd) = (S::mul(S::splat(1.0 / 12.0), S::add(u[0], u[1])), S::mul(S::splat(0.25), S::add(u[2], u[3])));
    let middle = S::add(S::sub(u[0], u[1]), S::sub(u[2], u[3]));
    [S::add(even, odd), S::mul(S::splat(0.125), middle), S::sub(even, odd)]
});

transform!(StridedInput<S>: 7 to 7, |d| {
    [S::sub(d[0], d[4]), S::add(d[2], d[4]), S::sub(d[4], d[2]), S::sub(d[2], d[6]), d[1], d[3], d[5]]
});

transform!(StridedOutput<S>: 7 to 3, |m| {
    let (even, odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
    [S::add(S::add(m[0], even), m[4]), S::add(odd, m[5]), S::add(S::sub(even, m[3]), m[6])]
});

transform!(StridedBackInput<S>: 4 to 7, |y| {
    [S::sub(y[0], y[2]), S::add(y[1], y[2]), S::sub(y[2], y[1]), S::sub(y[1], y[3]), y[0], y[1], y[2]]
});

transform!(StridedBackOutput<S>: 7 to 6, |m| {
    let (even, odd) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
    [m[4], S::add(m[0], even), m[5], odd, m[6], S::sub(even, m[3])]
});

transform!(StridedGradient<S>: 3 to 7, |y| {
    let even = S::add(y[0], y[2]);
    [y[0], S::add(even, y[1]), S::sub(even, y[1]), S::sub(S::splat(0.0), y[2]), y[0], y[1], y[2]]
});

transform!(StridedWeights<S>: 3 to 5, |w| {
    let half = S::splat(0.5);
    [w[0], S::mul(half, S::add(w[0], w[2])), S::mul(half, S::sub(w[0], w[2])), w[2], w[1]]
});

transform!(StridedWeightGradient<S>: 5 to 3, |u| {
    let half = S::splat(0.5);
    [S::fma(half, S::add(u[1], u[2]), u[0]), u[4], S::fma(half, S::sub(u[1], u[2]), u[3])]
});

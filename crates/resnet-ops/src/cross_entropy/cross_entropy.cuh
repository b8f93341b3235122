// A class's part of a focused loss.
#pragma once

/// A part of the loss, and its derivative by the logarithm of the class's probability.
struct Focused {
    double loss, slope;
};

/// -wanted * (1 - p)^gamma * log p, of the logarithm of a probability.
INLINE Focused focused(double wanted, double log_p, double gamma) {
    if (wanted == 0) return {0, 0};
    if (gamma == 0) return {-wanted * log_p, -wanted};
    // Exact also where p is nearly 1.
    const double rest = -expm1(log_p), factor = pow(rest, gamma), p = exp(log_p);
    // What is sure, either way, bends nothing; there the quotient is no number.
    const double bent = rest == 0 || p == 0 ? 0 : gamma * p * factor / rest * log_p;
    return {factor == 0 ? 0 : -wanted * factor * log_p, wanted * (bent - factor)};
}

//! Lines through points.

/// Returns the slope of the line that lies nearest to points; `None` when they are all at one place.
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.iter().map(|_| 1.0).sum::<f64>();
    let mean = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let (mut both, mut square) = (0.0, 0.0);
    for (x, y) in points {
        both += (x - x_mean) * (y - y_mean);
        square += (x - x_mean).powi(2);
    }
    (square > 0.0).then(|| both / square)
}

/// Returns the exponent that something grows with: 1 where twice as much of one makes twice as much of the other.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let positive = points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0);
    slope(&positive.map(|(x, y)| (x.ln(), y.ln())).collect::<Vec<_>>())
}

/// Returns the value in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (below, above) = (
        values.get(values.len().checked_sub(1)? / 2)?,
        values.get(values.len() / 2)?,
    );
    Some(f64::midpoint(*below, *above))
}

/// Returns the mean of factors: two of which one doubles and the other halves make one.
pub fn geometric_mean(factors: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for factor in factors {
        sum += factor.ln();
        count += 1.0;
    }
    (count > 0.0).then(|| f64::exp(sum / count))
}

#[cfg(test)]
mod tests;

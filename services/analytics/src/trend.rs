//! The slope of a series by Theil and Sen: the median of the slopes between all pairs of its points. A
//! few wild days do not move it. Not for where series come from.

/// Returns how much the series grows from one point to the next; 0 for fewer than two points. `slopes`
/// is room to work in.
pub(crate) fn slope(series: &[i64], slopes: &mut Vec<f64>) -> f64 {
    slopes.clear();
    for (earlier, &low) in series.iter().enumerate() {
        for (steps, &high) in series[earlier + 1..].iter().enumerate() {
            slopes.push((high - low) as f64 / (steps + 1) as f64);
        }
    }
    if slopes.is_empty() {
        return 0.0;
    }
    let middle = slopes.len() / 2;
    let even = slopes.len().is_multiple_of(2);
    let (below, &mut median, _) = slopes.select_nth_unstable_by(middle, f64::total_cmp);
    if !even {
        return median;
    }
    let lower = below.iter().copied().max_by(f64::total_cmp).unwrap_or(median);
    (lower + median) / 2.0
}

/// Returns how many pairs a series of this many points has.
pub(crate) fn pairs(points: i64) -> i64 {
    points * (points - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(series: &[i64]) -> f64 {
        slope(series, &mut Vec::new())
    }

    #[test]
    fn a_line_has_its_slope_and_a_wild_day_does_not_change_it() {
        assert_eq!(of(&[1, 3, 5, 7, 9]), 2.0);
        assert_eq!(of(&[9, 7, 5, 3, 1]), -2.0);
        assert_eq!(of(&[1, 3, 5, 7_000, 9, 11, 13]), 2.0);
        assert_eq!(of(&[4, 4, 4]), 0.0);
    }

    #[test]
    fn of_two_middle_slopes_it_is_the_mean() {
        // Slopes: 1, 4/2, 3 and so on: (0,1) 1, (0,2) 2, (1,2) 3.
        assert_eq!(of(&[0, 1, 4]), 2.0);
        // (0,1) 0, (0,2) 0, (0,3) 1, (1,2) 0, (1,3) 1.5, (2,3) 3: between 0 and 1.
        assert_eq!(of(&[0, 0, 0, 3]), 0.5);
        assert_eq!(of(&[2, 5]), 3.0);
    }

    #[test]
    fn a_point_or_none_goes_nowhere() {
        assert_eq!((of(&[]), of(&[7])), (0.0, 0.0));
        assert_eq!((pairs(0), pairs(1), pairs(2), pairs(30)), (0, 0, 1, 435));
    }
}

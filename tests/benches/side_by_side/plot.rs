//! One picture a scene: CPU for each request, a bar for each case.

use std::io;

use plotters::prelude::*;

use super::options::Options;
use super::report::bar;
use super::samples::Samples;
use super::scenes::Scene;

/// In pixels, as SVG counts them.
const WIDTH: u32 = 900;
const HEIGHT_OF_A_BAR: u32 = 34;
const HEIGHT_BESIDE: u32 = 90;
/// Room for the names of cases.
const NAMES: i32 = 230;

/// Darker for what the front takes, and that bar on top of the other.
const FRONT: RGBColor = RGBColor(178, 72, 30);
const ALL: RGBColor = RGBColor(240, 176, 120);

/// Draws a scene, if CPU was measured in it.
///
/// # Errors
///
/// The file cannot be written.
pub(crate) fn draw(options: &Options, scene: &Scene, samples: &Samples) -> io::Result<()> {
    let bars: Vec<(&str, (f64, f64))> = scene
        .cases
        .iter()
        .filter_map(|case| Some((case.name, bar(samples, scene.name, case.name)?)))
        .collect();
    if bars.is_empty() {
        return Ok(());
    }
    let file = options.out.join(format!("{}.svg", scene.name));
    let height = HEIGHT_BESIDE + HEIGHT_OF_A_BAR * u32::try_from(bars.len()).unwrap_or(u32::MAX);
    let area = SVGBackend::new(&file, (WIDTH, height)).into_drawing_area();
    draw_bars(&area, &bars).map_err(|error| io::Error::other(error.to_string()))
}

fn draw_bars(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    bars: &[(&str, (f64, f64))],
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>> {
    area.fill(&WHITE)?;
    let most = bars.iter().map(|(_, (_, all))| *all).fold(0.0, f64::max);
    let count = bars.len();
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(
            "CPU µs a request, in all and (dark) in the front",
            ("sans-serif", 16),
        )
        .x_label_area_size(30)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(0.0..most * 1.05, (0..count).into_segmented())?;
    let name = |place: &SegmentValue<usize>| match place {
        SegmentValue::CenterOf(index) => bars
            .get(count - 1 - *index)
            .map_or("", |bar| bar.0)
            .to_owned(),
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(count)
        .y_label_formatter(&name)
        .draw()?;
    for (index, (_, (front, all))) in bars.iter().rev().enumerate() {
        for (length, colour) in [(*all, ALL), (*front, FRONT)] {
            let (bottom, top) = (SegmentValue::Exact(index), SegmentValue::Exact(index + 1));
            let mut bar = Rectangle::new([(0.0, bottom), (length, top)], colour.filled());
            bar.set_margin(5, 5, 0, 0);
            chart.draw_series([bar])?;
        }
    }
    area.present()
}

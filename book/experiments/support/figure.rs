//! The look of the book's figures: one size of type, one set of colours, a light card behind.

use std::error::Error;

use plotters::coord::Shift;
pub use plotters::prelude::*;

/// Where a figure is drawn.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The default width of a figure. On a phone it shrinks to about 330 px, so type starts at 16.
pub const WIDTH: u32 = 480;

/// Text and axes.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Grids and secondary text; still 4.5 : 1 on the card.
pub const MUTED: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// First series. The six colours are Okabe and Ito's (2008), darkened where text needs it: they
/// stay apart for colour-blind readers and in greyscale.
pub const BLUE: RGBColor = RGBColor(0x00, 0x5A, 0x96);
/// Second series.
pub const ORANGE: RGBColor = RGBColor(0xB8, 0x4A, 0x00);
/// Third series.
pub const GREEN: RGBColor = RGBColor(0x00, 0x75, 0x56);
/// Fourth series.
pub const PURPLE: RGBColor = RGBColor(0x9C, 0x4F, 0x7E);
/// A light fill beside blue.
pub const SKY: RGBColor = RGBColor(0x9F, 0xD3, 0xF2);
/// A light fill beside orange.
pub const SAND: RGBColor = RGBColor(0xF3, 0xD2, 0x9B);

/// The font of labels, at `size` px, in ink.
pub fn font(size: u32) -> TextStyle<'static> {
    coloured(size, &INK)
}

/// The font of labels that name a series by its colour.
pub fn coloured(size: u32, colour: &RGBColor) -> TextStyle<'static> {
    // plotters divides a font's size by 1.24 when it writes SVG.
    let size = f64::from(size) * 1.24;
    ("system-ui, sans-serif", size).into_font().color(colour)
}

/// Draws a figure and returns it as an SVG that scales to the width of the page and carries
/// `title` for screen readers.
pub fn svg(
    title: &str,
    width: u32,
    height: u32,
    draw: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn Error>>,
) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        area.present()?;
    }
    let opened = text.find('>').map_or(0, |end| end + 1);
    let escaped = title.replace('&', "&amp;").replace('<', "&lt;");
    text.insert_str(opened, &format!("\n<title>{escaped}</title>"));
    Ok(text)
}

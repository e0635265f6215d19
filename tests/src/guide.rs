//! The pages of `docs/guide`: their Rust is compiled as documentation tests, and what else is in them is handed to whoever
//! checks it.

/// The Rust of a page is a documentation test of it.
macro_rules! pages {
    ($($name:ident = $file:literal;)*) => {
        $(
            #[doc = include_str!(concat!("../../docs/guide/", $file))]
            #[cfg(doctest)]
            pub mod $name {}
        )*

        /// Name and text of every page.
        pub const PAGES: &[(&str, &str)] = &[
            $(($file, include_str!(concat!("../../docs/guide/", $file)))),*
        ];
    };
}

pages! {
    contents = "README.md";
    rust = "1-rust.md";
    browser = "2-browser.md";
    offline = "3-offline.md";
    conflicts = "4-conflicts.md";
    tabs = "5-tabs.md";
    tokens = "6-tokens.md";
    production = "7-production.md";
}

/// The blocks of code of a page in one language, as it is named behind the backticks.
#[must_use]
pub fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(named) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|it| *it != "```").collect();
            if named == language {
                blocks.push(block.join("\n"));
            }
        }
    }
    blocks
}

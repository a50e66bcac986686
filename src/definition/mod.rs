//! What the user wants: files of definitions, checked and compiled into a catalog, or every problem at once.

pub mod ast;
mod compile;
pub mod diagnostic;
mod entries;
mod format;
mod json;
mod json_schema;
pub mod keyword;
mod lexer;
pub mod literal;
mod load;
pub mod parser;
mod print;
mod read;
mod source;
mod spec;
mod test_case;
mod test_event;
pub mod yaml;

pub use format::format;
pub use json_schema::json_schema;
pub use load::{Definitions, definition_files, load, load_texts};
pub use test_case::{DEFAULT_CUSTOMER, Expectation, ExpectedChange, TestCase, TestEvent};

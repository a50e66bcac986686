//! What the user wants: files of definitions, checked and compiled into a catalog, or every problem at once.

pub mod ast;
pub mod diagnostic;
pub mod keyword;
mod lexer;
pub mod literal;
pub mod parser;
mod print;

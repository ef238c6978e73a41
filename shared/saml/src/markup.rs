//! What a document may cost, and which kinds of markup it may have, looked at before it is parsed.

/// The most elements of a document.
const MOST_ELEMENTS: usize = 10_000;
/// The most attributes of an element, declarations of namespaces included: the parser compares each with all others.
const MOST_ATTRIBUTES: usize = 32;

/// How large a document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XmlLimits {
    /// The longest, in bytes.
    pub bytes: usize,
    /// The most elements inside of each other.
    pub depth: u32,
}

impl Default for XmlLimits {
    fn default() -> Self {
        Self {
            bytes: 256 * 1024,
            depth: 32,
        }
    }
}

/// Whether a document may have comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comments {
    /// In messages: a comment inside of a name splits it for some readers, and not for others.
    Refused,
    /// In metadata, which people write: those inside of a text are refused when it is read.
    Allowed,
}

/// Why a document is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MarkupError {
    /// More bytes than are read.
    #[error("it is longer than {0} bytes: leave out what is not needed, such as unused attributes")]
    TooLong(usize),
    /// It is not UTF-8, or says that it is something else.
    #[error("it is not in UTF-8")]
    NotUtf8,
    /// A document type, which brings entities.
    #[error("it has a document type (DOCTYPE), which is not read: send it without")]
    Doctype,
    /// A processing instruction.
    #[error("it has a processing instruction (<?…?>), which is not read: send it without")]
    ProcessingInstruction,
    /// A comment in a message, or inside of a text.
    #[error("it has a comment where none may be: send it without")]
    Comment,
    /// A CDATA section.
    #[error("it has a CDATA section, which is not read: send it without")]
    Cdata,
    /// Elements inside of each other, too many of them.
    #[error("its elements are nested deeper than {0}")]
    TooDeep(u32),
    /// Too many elements.
    #[error(
        "it has more than {MOST_ELEMENTS} elements: leave out what is not needed, such as unused attributes"
    )]
    TooManyElements,
    /// Too many attributes of one element.
    #[error("an element has more than {MOST_ATTRIBUTES} attributes and declarations of namespaces")]
    TooManyAttributes,
    /// No XML.
    #[error("it is not well-formed XML: {0}")]
    NotWellFormed(String),
    /// Two elements with one id: a signature of one could be taken for the other's.
    #[error("two of its elements have the id \"{0}\"")]
    DuplicateId(String),
    /// An element that must be there once at most.
    #[error("it has more than one <{0}> in one place")]
    Repeated(&'static str),
    /// An element inside of a text.
    #[error("<{0}> must have text and no elements")]
    ElementInText(String),
}

/// Checks what a document may cost and the kinds of its markup, in one pass that keeps nothing.
///
/// A `<` is always markup in well-formed XML, and what is not well-formed is refused by the parser. So it is enough to look
/// at what follows each `<`.
pub(crate) fn check_markup(
    text: &str,
    limits: &XmlLimits,
    comments: Comments,
) -> Result<(), MarkupError> {
    if text.len() > limits.bytes {
        return Err(MarkupError::TooLong(limits.bytes));
    }
    let mut rest = without_declaration(text);
    let (mut depth, mut elements) = (0_u32, 0_usize);
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix("!--") {
            if comments == Comments::Refused {
                return Err(MarkupError::Comment);
            }
            rest = after.split_once("-->").map_or("", |(_, after)| after);
        } else if rest.starts_with("![CDATA[") {
            return Err(MarkupError::Cdata);
        } else if rest.starts_with('!') {
            return Err(MarkupError::Doctype);
        } else if rest.starts_with('?') {
            return Err(MarkupError::ProcessingInstruction);
        } else if rest.starts_with('/') {
            depth = depth.saturating_sub(1);
        } else {
            elements += 1;
            let tag = Tag::scan(rest);
            if elements > MOST_ELEMENTS {
                return Err(MarkupError::TooManyElements);
            }
            if tag.attributes > MOST_ATTRIBUTES {
                return Err(MarkupError::TooManyAttributes);
            }
            if depth >= limits.depth {
                return Err(MarkupError::TooDeep(limits.depth));
            }
            depth += u32::from(!tag.is_empty);
            rest = &rest[tag.length..];
        }
    }
    Ok(())
}

/// Returns the text after the declaration `<?xml …?>`, which is no processing instruction.
fn without_declaration(text: &str) -> &str {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let declaration = text
        .strip_prefix("<?xml")
        .filter(|rest| rest.starts_with(|letter: char| letter.is_ascii_whitespace()));
    declaration
        .and_then(|rest| rest.split_once("?>"))
        .map_or(text, |(_, rest)| rest)
}

/// The size of a start tag.
struct Tag {
    /// Its bytes, from its name to before its `>`.
    length: usize,
    attributes: usize,
    /// It ends with `/>`.
    is_empty: bool,
}

impl Tag {
    /// Finds the end of a tag: the first `>` outside of quotes.
    fn scan(text: &str) -> Self {
        let mut quote = None;
        let mut attributes = 0;
        for (at, byte) in text.bytes().enumerate() {
            match (quote, byte) {
                (None, b'>') => {
                    let is_empty = text[..at].ends_with('/');
                    return Self {
                        length: at,
                        attributes,
                        is_empty,
                    };
                }
                (None, b'"' | b'\'') => {
                    quote = Some(byte);
                    attributes += 1;
                }
                (Some(open), _) if open == byte => quote = None,
                _ => {}
            }
        }
        Self {
            length: text.len(),
            attributes,
            is_empty: false,
        }
    }
}

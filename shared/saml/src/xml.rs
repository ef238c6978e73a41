//! A document is parsed once, and everything is read from that one tree.

use std::collections::HashSet;

use uppsala::{Document, NodeId, NodeKind, Parser};

use crate::markup::{Comments, MarkupError, XmlLimits, check_markup};

/// The most letters that an error repeats of what somebody else wrote.
const LONGEST_QUOTE: usize = 256;

/// Parses a document within its limits. Each of its ids stands for one element.
pub(crate) fn parse<'t>(
    text: &'t str,
    limits: &XmlLimits,
    comments: Comments,
) -> Result<Document<'t>, MarkupError> {
    check_markup(text, limits, comments)?;
    let parser = Parser::new()
        .with_max_depth(limits.depth)
        .with_forbid_dtd(true)
        .with_forbid_entities(true);
    let document = parser
        .parse(text)
        .map_err(|error| MarkupError::NotWellFormed(clip(&error.to_string())))?;
    let declared = document.xml_declaration.as_ref();
    let encoding = declared.and_then(|declared| declared.encoding.as_deref());
    if encoding.is_some_and(|name| !["UTF-8", "US-ASCII"].contains(&&*name.to_ascii_uppercase())) {
        return Err(MarkupError::NotUtf8);
    }
    check_ids(&document)?;
    Ok(document)
}

/// Checks that no id is there twice, whatever the spelling and namespace of the attributes that have it.
fn check_ids(document: &Document<'_>) -> Result<(), MarkupError> {
    const NAMES: [&str; 4] = ["id", "assertionid", "requestid", "responseid"];
    let mut seen = HashSet::new();
    for node in document.descendants(document.root()) {
        let attributes = document.element(node).map(|element| &element.attributes);
        for attribute in attributes.into_iter().flatten() {
            let name = attribute.name.local_name.to_ascii_lowercase();
            if NAMES.contains(&name.as_str()) && !seen.insert(&*attribute.value) {
                return Err(MarkupError::DuplicateId(clip(&attribute.value)));
            }
        }
    }
    Ok(())
}

/// Returns the beginning of a text that somebody else wrote, such that it can stand in a message.
pub(crate) fn clip(text: &str) -> String {
    let letters = text.trim().chars().take(LONGEST_QUOTE);
    letters
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// An element of a document. From it one comes to what is inside of it, and nowhere else.
#[derive(Clone, Copy)]
pub(crate) struct XmlElement<'d> {
    document: &'d Document<'d>,
    node: NodeId,
}

impl<'d> XmlElement<'d> {
    /// Returns the outermost element.
    pub(crate) fn root(document: &'d Document<'d>) -> Option<Self> {
        let node = document.document_element()?;
        Some(Self { document, node })
    }

    /// Tells whether it has this name.
    pub(crate) fn is(self, namespace: &str, name: &str) -> bool {
        self.document
            .element(self.node)
            .is_some_and(|element| element.matches_name_ns(namespace, name))
    }

    /// Returns its name without namespace.
    pub(crate) fn local_name(self) -> &'d str {
        let element = self.document.element(self.node);
        element.map_or("", |element| &element.name.local_name)
    }

    /// Returns its namespace.
    pub(crate) fn namespace(self) -> &'d str {
        let element = self.document.element(self.node);
        let namespace = element.and_then(|element| element.name.namespace_uri.as_deref());
        namespace.unwrap_or("")
    }

    /// Returns an attribute that is in no namespace.
    pub(crate) fn attribute(self, name: &str) -> Option<&'d str> {
        let attributes = &self.document.element(self.node)?.attributes;
        let found = attributes.iter().find(|attribute| {
            attribute.name.namespace_uri.is_none() && attribute.name.local_name == name
        });
        found.map(|attribute| &*attribute.value)
    }

    /// Tells whether it has no attributes but these, which are in no namespace.
    pub(crate) fn has_only_attributes(self, names: &[&str]) -> bool {
        let element = self.document.element(self.node);
        let mut attributes = element.into_iter().flat_map(|element| &element.attributes);
        attributes.all(|attribute| {
            attribute.name.prefix.is_none()
                && attribute.name.namespace_uri.is_none()
                && names.contains(&&*attribute.name.local_name)
        })
    }

    /// Returns the elements directly inside.
    pub(crate) fn children(self) -> impl Iterator<Item = Self> {
        let document = self.document;
        let nodes = document.children_iter(self.node);
        nodes
            .filter(move |node| document.element(*node).is_some())
            .map(move |node| Self { document, node })
    }

    /// Returns the elements of a name directly inside.
    pub(crate) fn children_named(
        self,
        namespace: &'static str,
        name: &'static str,
    ) -> impl Iterator<Item = Self> {
        self.children()
            .filter(move |child| child.is(namespace, name))
    }

    /// Returns the one element of a name directly inside, if there is one.
    pub(crate) fn one_child(
        self,
        namespace: &'static str,
        name: &'static str,
    ) -> Result<Option<Self>, MarkupError> {
        let mut found = self.children_named(namespace, name);
        let first = found.next();
        match found.next() {
            Some(_) => Err(MarkupError::Repeated(name)),
            None => Ok(first),
        }
    }

    /// Returns it and every element inside.
    pub(crate) fn descendants(self) -> impl Iterator<Item = Self> {
        let document = self.document;
        let below = document.descendants(self.node).into_iter();
        std::iter::once(self.node)
            .chain(below)
            .filter(move |node| document.element(*node).is_some())
            .map(move |node| Self { document, node })
    }

    /// Returns the whole text inside, without white space around it.
    pub(crate) fn text(self) -> Result<String, MarkupError> {
        let mut text = String::new();
        for node in self.document.children_iter(self.node) {
            match self.document.node_kind(node) {
                Some(NodeKind::Text(part)) => text.push_str(part),
                Some(NodeKind::Element(_)) => {
                    return Err(MarkupError::ElementInText(clip(self.local_name())));
                }
                _ => return Err(MarkupError::Comment),
            }
        }
        Ok(text.trim().to_owned())
    }

    /// Returns the document and the node, for canonicalisation.
    pub(crate) fn parts(self) -> (&'d Document<'d>, NodeId) {
        (self.document, self.node)
    }
}

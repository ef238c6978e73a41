//! The bytes of an element that are signed.

use bergshamra_c14n::{C14nMode, canonicalize_doc};
use bergshamra_xml::NodeSet;

use crate::xml::{XmlElement, clip};

/// Returns an element in exclusive canonical form, without one element inside of it.
///
/// Declarations of the `prefixes` are written even where no name uses them.
pub(crate) fn canonical_bytes(
    element: XmlElement<'_>,
    without: Option<XmlElement<'_>>,
    prefixes: &[String],
) -> Result<Vec<u8>, String> {
    let (document, node) = element.parts();
    let mut nodes = NodeSet::tree_without_comments(node, document);
    if let Some(left_out) = without {
        let (_, left_out) = left_out.parts();
        nodes.remove_id(left_out);
        for inside in document.descendants(left_out) {
            nodes.remove_id(inside);
        }
    }
    canonicalize_doc(document, C14nMode::Exclusive, Some(&nodes), prefixes)
        .map_err(|error| clip(&error.to_string()))
}

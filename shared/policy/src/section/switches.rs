//! Switches of the whole tailnet (policy section 17.5).

use jsonc_parser::ast::Value;

use super::DocumentReader;

impl DocumentReader<'_> {
    pub(super) fn read_randomize_client_port(&mut self, value: &Value<'_>) {
        self.policy.switches.randomize_client_port =
            self.reader.read_boolean(value, &mut self.problems);
    }

    pub(super) fn read_one_cgnat_route(&mut self, value: &Value<'_>) {
        match self.reader.read_string(value, &mut self.problems) {
            Some("mac-always") => self.policy.switches.one_cgnat_route = Some(true),
            Some("mac-never") => self.policy.switches.one_cgnat_route = Some(false),
            Some("") | None => {}
            Some(other) => {
                let message = format!("OneCGNATRoute=\"{other}\" is not supported");
                self.refuse_with_hint(value, message, "\"mac-always\", \"mac-never\" or \"\"");
            }
        }
    }
}

//! `autoApprovers` (policy section 15).

use ipnet::IpNet;
use jsonc_parser::ast::Value;

use super::{DocumentReader, find_member};

impl DocumentReader<'_> {
    pub(super) fn read_auto_approvers(&mut self, value: &Value<'_>) {
        let Value::Object(object) = value else {
            self.refuse(value, "autoApprovers is an object");
            return;
        };
        let known: &[&str] = &["routes", "exitNode", "services"];
        let members = self.reader.read_members(object, known, &mut self.problems);
        if let Some(value) = find_member(&members, &["routes"]) {
            for (text, value, place) in self.reader.read_entries(value, &mut self.problems) {
                let approvers = self.read_identities(value, "an approver");
                match text.trim().parse::<IpNet>() {
                    Ok(prefix) => {
                        let known = self
                            .policy
                            .approvers
                            .routes
                            .entry(prefix.trunc())
                            .or_default();
                        known.extend(approvers);
                    }
                    Err(_) => {
                        let message = format!("autoApprovers.routes: \"{text}\" is not a prefix");
                        self.problems.push(self.reader.problem_at(place, message));
                    }
                }
            }
        }
        if let Some(value) = find_member(&members, &["exitNode"]) {
            self.policy.approvers.exit_nodes = self.read_identities(value, "an approver");
        }
        if let Some(value) = find_member(&members, &["services"]) {
            for (name, value, place) in self.reader.read_entries(value, &mut self.problems) {
                self.read_identities(value, "an approver");
                let message =
                    format!("there are no services here yet: \"{name}\" approves nothing");
                self.warnings.push(self.reader.problem_at(place, message));
                if !name.starts_with("svc:") && !name.starts_with("tag:") {
                    let message = format!(
                        "autoApprovers.services: \"{name}\" is neither a service nor a tag"
                    );
                    self.problems.push(self.reader.problem_at(place, message));
                }
            }
        }
    }
}

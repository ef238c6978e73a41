//! Rules that come and go.

use anyhow::Result;

use crate::{
    access_plan::{AccessPlan, AccessRule, Party},
    run::Run,
};

impl Run {
    /// Adds a rule from one person to another, then one from one person to all, and takes both back.
    pub async fn change_policy(&mut self) -> Result<()> {
        let from = |to, port| AccessRule {
            from: Party::Person(1),
            to,
            ports: (port, port),
        };
        let before = self.plan.clone();
        let small = before.with(from(Party::Person(2), 9000));
        let large = small.with(from(Party::Everybody, 9002));
        for (phase, plan) in [
            ("policy: two people", small),
            ("policy: one and all", large),
            ("policy: back", before),
        ] {
            self.set_plan(phase, plan).await?;
        }
        Ok(())
    }

    /// Puts a plan in force.
    pub(super) async fn set_plan(&mut self, phase: &str, plan: AccessPlan) -> Result<()> {
        let meter = self.begin_phase();
        self.administration.set_policy(&plan).await?;
        let answered = meter.began.elapsed();
        self.table = plan.table();
        self.plan = plan;
        let (mut report, _) = self.settle_phase(phase, &meter, |_| false).await;
        report
            .figures
            .insert("ms until the answer", answered.as_secs_f64() * 1000.0);
        self.keep(report);
        Ok(())
    }
}

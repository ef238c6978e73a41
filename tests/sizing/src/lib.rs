//! How many machines a deployment needs, computed from what a load cost on one machine.
//!
//! ```text
//! measured/*.json (bowline-load) ─▶ costs ─┐
//!                                          ├─▶ plan ─▶ page
//! what clients do (options)  ─▶ workload ──┘
//! ```
//!
//! A cost that grows with something is the slope between two runs that differ in it alone. Nothing here is measured anew: the
//! figures are as old as the files, which `measure` makes.

mod costs;
mod page;
mod plan;
mod run;
mod workload;

use std::path::Path;

use anyhow::{Context as _, Result};

use costs::MeasuredCosts;
use page::{render_costs, render_plans};
use plan::DeploymentPlan;
pub use plan::Machine;
pub use workload::Workload;

/// Returns the tables for a workload, a tenth and a hundredth of it, from a directory of runs.
///
/// # Errors
///
/// When there are no runs, or no number of gateways is enough.
pub fn make_page(measured: &Path, workload: &Workload, machine: &Machine) -> Result<String> {
    let costs = MeasuredCosts::read(measured)?;
    let columns = [100.0, 10.0, 1.0].map(|by| {
        let workload = workload.divide(by);
        let plan = DeploymentPlan::find(&costs, &workload, machine);
        let plan = plan.context("no number of gateways is enough")?;
        Ok((workload, plan))
    });
    let columns = columns.into_iter().collect::<Result<Vec<_>>>()?;
    let tables = [render_costs(&costs), render_plans(&columns, machine)];
    Ok(tables.join("\n"))
}

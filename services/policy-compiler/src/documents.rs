//! Policy documents: judged, stored as versions, and compared with the version in force.

use std::sync::Arc;

use bowline_db::Mutation;
use bowline_ids::TailnetId;
use bowline_policy::{
    Compiler, DocumentVerdict, Explanation, Inventory, Policy, Preview, check_document,
};
use bowline_proto::{
    policy::v1::{PolicyChange, PolicyProblem, PolicyVersion, SetPolicyResponse},
    time::to_timestamp,
};
use serde_json::json;

use crate::{PolicyCompiler, error::CompilerError, grpc::convert_problems, store};

/// A document that somebody wants to put in force.
#[derive(Debug)]
pub(crate) struct NewDocument {
    pub(crate) text: String,
    pub(crate) author: String,
    /// The version the author saw last: when another is in force, nothing is stored.
    pub(crate) expected_version: Option<u64>,
    /// Whether warnings refuse it.
    pub(crate) is_strict: bool,
}

impl PolicyCompiler {
    /// Judges a document for a tailnet, beside the version in force, and runs its tests.
    pub(crate) async fn judge_document(
        &self,
        tailnet: TailnetId,
        text: String,
    ) -> Result<DocumentVerdict, CompilerError> {
        let judge = move |compiler: &Compiler, _| judge_beside(compiler, &text);
        self.get_workspace(tailnet).query(0, judge).await
    }

    /// Stores a document as the version in force, unless something is wrong with it.
    pub(crate) async fn set_document(
        &self,
        tailnet: TailnetId,
        document: NewDocument,
    ) -> Result<SetPolicyResponse, CompilerError> {
        let text = document.text.clone();
        let mut verdict = self.judge_document(tailnet, text).await?;
        if document.is_strict {
            verdict = verdict.refuse_warnings();
        }
        let Some(policy) = verdict.policy.map(Arc::new) else {
            return Ok(SetPolicyResponse {
                version: None,
                problems: convert_problems(verdict.problems),
                warnings: convert_problems(verdict.warnings),
            });
        };
        let warnings = convert_problems(verdict.warnings);
        let stored = self.store_document(tailnet, document, &policy, warnings);
        let stored = stored.await?;
        // Workspaces of this replica have it at once, without waiting for the hint.
        if let Err(error) = self.refresh_policy(tailnet).await {
            tracing::debug!(%error, "the stored policy can not be read back yet");
        }
        Ok(stored)
    }

    async fn store_document(
        &self,
        tailnet: TailnetId,
        document: NewDocument,
        policy: &Arc<Policy>,
        warnings: Vec<PolicyProblem>,
    ) -> Result<SetPolicyResponse, CompilerError> {
        let (author, bytes) = (document.author.clone(), document.text.len());
        let (answer, _) = self
            .log
            .mutate_once(tailnet, author, move |mutation| {
                Box::pin(async move {
                    let stored = insert_document(mutation, tailnet, document).await?;
                    let version = PolicyVersion {
                        // The author has the text.
                        text: String::new(),
                        ..stored
                    };
                    Ok::<_, CompilerError>(SetPolicyResponse {
                        version: Some(version),
                        problems: Vec::new(),
                        warnings,
                    })
                })
            })
            .await?;
        if let Some(version) = &answer.version {
            self.cache_policy(tailnet, version.version, policy, bytes);
        }
        Ok(answer)
    }

    /// Returns the versions before one, or the newest for zero, without their text, newest first.
    pub(crate) async fn list_documents(
        &self,
        tailnet: TailnetId,
        before: u64,
    ) -> Result<Vec<PolicyVersion>, CompilerError> {
        let reader = self.log.database().reader();
        Ok(store::list_versions(reader, tailnet.get(), before).await?)
    }

    /// Returns a version, or the one in force for zero. A tailnet without a document has version zero.
    pub(crate) async fn find_document(
        &self,
        tailnet: TailnetId,
        version: u64,
    ) -> Result<PolicyVersion, CompilerError> {
        let reader = self.log.database().reader();
        let newest = store::newest_version(reader, tailnet.get()).await?;
        let wanted = if version == 0 { newest } else { version };
        if wanted == 0 {
            return Ok(PolicyVersion {
                tailnet_id: tailnet.get(),
                ..PolicyVersion::default()
            });
        }
        let found = store::find_version(reader, tailnet.get(), wanted).await?;
        found.ok_or(CompilerError::NotFound("policy version"))
    }

    /// Judges a document and says whose access it would change.
    pub(crate) async fn preview_document(
        &self,
        tailnet: TailnetId,
        text: String,
    ) -> Result<(DocumentVerdict, Preview), CompilerError> {
        let workspace = self.get_workspace(tailnet);
        let version = self.refresh_policy(tailnet).await?;
        let preview = move |compiler: &Compiler, _| {
            let verdict = judge_beside(compiler, &text);
            let preview = match &verdict.policy {
                Some(policy) => compiler.preview_policy(policy),
                None => Preview::default(),
            };
            (verdict, preview)
        };
        workspace.query(version, preview).await
    }

    /// Says which rules of the version in force let a node reach another, and which version that is.
    pub(crate) async fn explain_pair(
        &self,
        tailnet: TailnetId,
        source: u64,
        destination: u64,
    ) -> Result<(Explanation, u64), CompilerError> {
        let workspace = self.get_workspace(tailnet);
        let version = self.refresh_policy(tailnet).await?;
        let explain = move |compiler: &Compiler, version| {
            (compiler.explain_access(source, destination), version)
        };
        let (found, version) = workspace.query(version, explain).await?;
        Ok((found.ok_or(CompilerError::NotFound("node"))?, version))
    }
}

fn judge_beside(compiler: &Compiler, text: &str) -> DocumentVerdict {
    let inventory = Inventory {
        users: compiler.users(),
        nodes: compiler.nodes(),
        groups: compiler.groups(),
        in_force: Some(compiler.policy()),
    };
    check_document(text, Some(inventory))
}

/// Writes a document as the next version, with its log entry and its audit entry.
async fn insert_document(
    mutation: &mut Mutation,
    tailnet: TailnetId,
    document: NewDocument,
) -> Result<PolicyVersion, CompilerError> {
    let found = store::newest_version(mutation.connection(), tailnet.get()).await?;
    if let Some(expected) = document.expected_version
        && expected != found
    {
        return Err(CompilerError::LostRace { expected, found });
    }
    let now = mutation.now();
    let version = PolicyVersion {
        tailnet_id: tailnet.get(),
        version: found + 1,
        text: document.text,
        author: document.author,
        created_at: Some(to_timestamp(now)),
    };
    store::insert_version(mutation.connection(), &version, now).await?;
    mutation.record_entry(&PolicyChange {
        version: Some(version.clone()),
        ..PolicyChange::default()
    });
    let detail = json!({ "before": { "version": found }, "after": { "version": version.version } });
    mutation.record_audit("policy.set", version.version.to_string(), &detail);
    Ok(version)
}

//! The services the registry asks: identity for users and logins, the policy compiler for tags and routes.
//!
//! An answer is checked here for the fields that it must have, so that nobody else looks at them.

use std::collections::{BTreeMap, HashMap};

use bowline_ids::TailnetId;
use bowline_proto::{
    identity::v1::{
        AskApprovalRequest, AskApprovalResponse, AskedUser, GetLoginRequest, Login,
        ResolveTailnetRequest, ResolveUserRequest, ResolveUsersRequest, StartLoginRequest, Tailnet,
        User, identity_service_client::IdentityServiceClient,
        login_service_client::LoginServiceClient,
    },
    policy::v1::{
        AttributeConfig, DescribeAttributesRequest, JudgeNodeRequest, JudgeNodeResponse,
        JudgeNodesRequest, policy_compiler_service_client::PolicyCompilerServiceClient,
    },
};
use bowline_service_kit::GrpcChannel;
use futures_util::future::try_join_all;
use tonic::{Code, Response, Status};

use crate::error::RegistryError;

const IDENTITY: &str = "identity";
const COMPILER: &str = "the policy compiler";

/// The services the registry asks.
#[derive(Clone, Debug)]
pub struct AskedServices {
    /// Identity: users and logins.
    pub identity: GrpcChannel,
    /// Policy compiler: tags and routes.
    pub compiler: GrpcChannel,
}

/// What the policy says of some nodes.
#[derive(Clone, Debug)]
pub(crate) struct JudgedNodes(HashMap<JudgeNodeRequest, JudgeNodeResponse>);

impl JudgedNodes {
    /// Returns what the policy says of one of the nodes.
    pub(crate) fn find_judgement(
        &self,
        question: &JudgeNodeRequest,
    ) -> Result<JudgeNodeResponse, RegistryError> {
        self.0.get(question).cloned().ok_or_else(|| {
            let text = "its answer lacks a judgement: are both of the same release?";
            RegistryError::from_service(COMPILER)(Status::internal(text))
        })
    }
}

/// A user, as identity has it now.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedUser {
    pub(crate) user: User,
    pub(crate) tailnet: Tailnet,
    /// The revision of identity's log that this is true at.
    pub(crate) revision: u64,
}

impl AskedServices {
    /// Asks what the policy says of a node's tags and routes.
    pub(crate) async fn judge_node(
        &self,
        question: JudgeNodeRequest,
    ) -> Result<JudgeNodeResponse, RegistryError> {
        let mut compiler = PolicyCompilerServiceClient::new(self.compiler.clone());
        let answer = compiler.judge_node(question).await;
        Ok(answer
            .map_err(RegistryError::from_service(COMPILER))?
            .into_inner())
    }

    /// Asks what the policy says of the tags and routes of some nodes.
    pub(crate) async fn judge_nodes(
        &self,
        tailnet_id: u64,
        nodes: Vec<JudgeNodeRequest>,
    ) -> Result<JudgedNodes, RegistryError> {
        let question = JudgeNodesRequest {
            tailnet_id,
            nodes: nodes.clone(),
        };
        let mut compiler = PolicyCompilerServiceClient::new(self.compiler.clone());
        let judgements = match compiler.judge_nodes(question).await {
            Ok(answer) => answer.into_inner().judgements,
            // A compiler of an earlier release.
            Err(status) if status.code() == Code::Unimplemented => {
                let judging = nodes.iter().map(|node| self.judge_node(node.clone()));
                try_join_all(judging).await?
            }
            Err(status) => return Err(RegistryError::from_service(COMPILER)(status)),
        };
        Ok(JudgedNodes(nodes.into_iter().zip(judgements).collect()))
    }

    /// Asks what the policy says of custom attributes; those that it does not name are not in the answer.
    pub(crate) async fn describe_attributes(
        &self,
        tailnet: TailnetId,
        names: Vec<String>,
    ) -> Result<Vec<AttributeConfig>, RegistryError> {
        let tailnet_id = tailnet.get();
        let question = DescribeAttributesRequest { tailnet_id, names };
        let mut compiler = PolicyCompilerServiceClient::new(self.compiler.clone());
        let answer = compiler.describe_attributes(question).await;
        let answer = answer.map_err(RegistryError::from_service(COMPILER))?;
        Ok(answer.into_inner().attributes)
    }

    /// Asks for a user; `None` when there is none.
    pub(crate) async fn resolve_user(
        &self,
        tailnet_id: u64,
        user_id: u64,
    ) -> Result<Option<ResolvedUser>, RegistryError> {
        let question = ResolveUserRequest {
            tailnet_id,
            user_id,
        };
        let mut identity = IdentityServiceClient::new(self.identity.clone());
        let Some(answer) = read_answer(identity.resolve_user(question).await)? else {
            return Ok(None);
        };
        Ok(Some(ResolvedUser {
            user: require_answered("user", answer.user)?,
            tailnet: require_answered("tailnet", answer.tailnet)?,
            revision: answer.revision,
        }))
    }

    /// Asks for some users of a tailnet; returns those that are there, by the numbers that were asked for.
    pub(crate) async fn resolve_users(
        &self,
        tailnet_id: u64,
        user_ids: Vec<u64>,
    ) -> Result<BTreeMap<u64, ResolvedUser>, RegistryError> {
        let question = ResolveUsersRequest {
            tailnet_id,
            user_ids: user_ids.clone(),
        };
        let mut identity = IdentityServiceClient::new(self.identity.clone());
        let answer = match identity.resolve_users(question).await {
            // An identity service of an earlier release.
            Err(status) if status.code() == Code::Unimplemented => {
                let resolving = user_ids.into_iter().map(async |id| {
                    let found = self.resolve_user(tailnet_id, id).await?;
                    Ok::<_, RegistryError>(found.map(|user| (id, user)))
                });
                let found = try_join_all(resolving).await?;
                return Ok(found.into_iter().flatten().collect());
            }
            answer => read_answer(answer)?,
        };
        let Some(answer) = answer else {
            return Ok(BTreeMap::new());
        };
        let (tailnet, revision) = (
            require_answered("tailnet", answer.tailnet)?,
            answer.revision,
        );
        let read = |found: AskedUser| {
            let user = ResolvedUser {
                user: require_answered("user", found.user)?,
                tailnet: tailnet.clone(),
                revision,
            };
            Ok::<_, RegistryError>((found.asked_id, user))
        };
        answer.users.into_iter().map(read).collect()
    }

    /// Asks for a tailnet; `None` when there is none.
    pub(crate) async fn resolve_tailnet(
        &self,
        tailnet_id: u64,
    ) -> Result<Option<Tailnet>, RegistryError> {
        let question = ResolveTailnetRequest {
            tailnet_id,
            name: String::new(),
        };
        let mut identity = IdentityServiceClient::new(self.identity.clone());
        let Some(answer) = read_answer(identity.resolve_tailnet(question).await)? else {
            return Ok(None);
        };
        require_answered("tailnet", answer.tailnet).map(Some)
    }

    /// Asks whether an outside system lets in a machine that waits.
    pub(crate) async fn ask_approval(
        &self,
        question: AskApprovalRequest,
    ) -> Result<AskApprovalResponse, RegistryError> {
        let mut identity = IdentityServiceClient::new(self.identity.clone());
        let answer = identity.ask_approval(question).await;
        Ok(answer
            .map_err(RegistryError::from_service(IDENTITY))?
            .into_inner())
    }

    /// Asks for a login; `None` when there is none, or none any more.
    pub(crate) async fn find_login(&self, login_id: &str) -> Result<Option<Login>, RegistryError> {
        let question = GetLoginRequest {
            login_id: login_id.to_owned(),
        };
        let mut identity = LoginServiceClient::new(self.identity.clone());
        let Some(answer) = read_answer(identity.get_login(question).await)? else {
            return Ok(None);
        };
        require_answered("login", answer.login).map(Some)
    }

    /// Starts a login.
    pub(crate) async fn start_login(
        &self,
        question: StartLoginRequest,
    ) -> Result<Login, RegistryError> {
        let mut identity = LoginServiceClient::new(self.identity.clone());
        let answer = identity.start_login(question).await;
        let answer = answer.map_err(RegistryError::from_service(IDENTITY))?;
        require_answered("login", answer.into_inner().login)
    }
}

/// Returns what identity answers; `None` when it has nothing of that name.
fn read_answer<T>(answer: Result<Response<T>, Status>) -> Result<Option<T>, RegistryError> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(RegistryError::from_service(IDENTITY)(status)),
    }
}

fn require_answered<T>(name: &str, field: Option<T>) -> Result<T, RegistryError> {
    field.ok_or_else(|| {
        let text = format!("its answer lacks the {name}: are both of the same release?");
        RegistryError::from_service(IDENTITY)(Status::internal(text))
    })
}

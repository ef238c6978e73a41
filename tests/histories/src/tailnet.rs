//! The tailnet of one history: what it is called in the services, and how calls are made there.

use std::collections::BTreeMap;

use bowline_proto::{
    identity::v1::{
        ApproveLoginRequest, CreateTailnetRequest, CreateUserRequest, Role, Tailnet,
        UpdateUserRequest, User, login_service_client::LoginServiceClient,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, PreAuthKey, RegisterRequest, RevokePreAuthKeyRequest,
        pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
        registration_service_client::RegistrationServiceClient,
    },
    policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient},
};
use bowline_service_kit::GrpcChannel;
use chrono::{DateTime, TimeDelta, Utc};
use tonic::{Code, Request, Response, Status};

use crate::{
    call::{
        KeyAnswer, KeyCall, KeyNumber, Machine, NewKey, NodeKeyNumber, PresentedCredential,
        RegisterCall,
    },
    lock,
    model::{SIGNING_USER, TailnetRules},
    node_calls, replica,
    services::TestReplicas,
};

/// Everybody reaches everybody, and there are two tags.
const POLICY: &str = r#"{
    "tagOwners": { "tag:a": [], "tag:b": [] },
    "grants": [{ "src": ["*"], "dst": ["*"], "ip": ["*"] }],
}"#;

/// Where and how a call is made.
#[derive(Clone, Copy, Debug)]
pub struct CallPath {
    /// The replica that is asked.
    pub replica: usize,
    /// How often the call is looked at before its caller goes away.
    pub looks: Option<u8>,
}

impl CallPath {
    /// Returns the path of the next try: to the other replica, by a caller who waits.
    #[must_use]
    pub fn next(self) -> Self {
        Self {
            replica: 1 - self.replica,
            looks: None,
        }
    }

    /// Puts a message on the path.
    #[must_use]
    pub fn request<T>(self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(looks) = self.looks {
            let looks = u32::from(looks).into();
            request.metadata_mut().insert(replica::LOOKS, looks);
        }
        request
    }
}

/// A pre-auth key, as the services call it.
#[derive(Clone, Debug)]
pub(crate) struct IssuedKey {
    id: String,
    pub(crate) secret: String,
    is_one_off: bool,
}

/// A tailnet.
#[derive(Clone, Debug)]
pub struct TestedTailnet {
    /// Its id.
    pub id: u64,
    users: Vec<User>,
    keys: BTreeMap<KeyNumber, IssuedKey>,
    /// A revoked key: revoking it again waits for what was asked before, and changes nothing.
    revoked: String,
}

impl TestedTailnet {
    /// Makes a tailnet with users and a policy.
    pub async fn create(services: &TestReplicas, rules: TailnetRules, name: &str) -> Self {
        let settings = Tailnet {
            key_lifetime: rules
                .key_lifetime
                .map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
            machine_approval: rules.machine_approval,
            ..Tailnet::default()
        };
        let request = CreateTailnetRequest {
            name: name.to_owned(),
            settings: Some(settings),
        };
        let mut tailnets = TailnetServiceClient::new(services.owners_admin());
        let made = tailnets.create_tailnet(request).await.unwrap().into_inner();
        let id = made.tailnet.unwrap().id;
        let mut users = Vec::new();
        for number in 0..=SIGNING_USER {
            let role = match number {
                SIGNING_USER => Role::Admin,
                _ => Role::Member,
            };
            let request = CreateUserRequest {
                tailnet_id: id,
                login_name: format!("user{number}@example.com"),
                role: role.into(),
                ..CreateUserRequest::default()
            };
            let mut client = UserServiceClient::new(services.owners_admin());
            let made = client.create_user(request).await.unwrap().into_inner();
            users.push(made.user.unwrap());
        }
        let request = SetPolicyRequest {
            tailnet_id: id,
            text: POLICY.to_owned(),
            ..SetPolicyRequest::default()
        };
        let mut policies = PolicyServiceClient::new(services.owners_admin());
        let stored = policies.set_policy(request).await.unwrap().into_inner();
        assert!(stored.problems.is_empty(), "{:?}", stored.problems);
        let mut tailnet = Self {
            id,
            users,
            keys: BTreeMap::new(),
            revoked: String::new(),
        };
        let barrier = PreAuthKey {
            user_id: tailnet.users[0].id,
            tailnet_id: id,
            ..PreAuthKey::default()
        };
        tailnet.revoked = create_key(services.admin(0), barrier).await.unwrap().id;
        tailnet.settle(services, 0).await.unwrap();
        tailnet
    }

    /// Waits until a replica has done what it was asked before in this tailnet.
    ///
    /// # Errors
    ///
    /// When the replica does not answer.
    pub async fn settle(&self, services: &TestReplicas, replica: usize) -> Result<(), Status> {
        let request = RevokePreAuthKeyRequest {
            tailnet_id: self.id,
            id: self.revoked.clone(),
        };
        let mut keys = PreAuthKeyServiceClient::new(services.admin(replica));
        keys.revoke_pre_auth_key(request).await.map(drop)
    }

    /// Makes a call, other than one for a new pre-auth key.
    pub async fn ask(&self, services: &TestReplicas, call: &KeyCall, path: CallPath) -> KeyAnswer {
        match call {
            KeyCall::Register(call) => self.register(services, call, path).await,
            KeyCall::MakeKey(..) => unreachable!("the history has to learn its name"),
            KeyCall::RevokeKey(number) => {
                let request = RevokePreAuthKeyRequest {
                    tailnet_id: self.id,
                    id: self.key_id(*number).to_owned(),
                };
                let mut keys = PreAuthKeyServiceClient::new(services.admin(path.replica));
                read_done(keys.revoke_pre_auth_key(path.request(request)).await)
            }
            KeyCall::EndNodesOfKey(number) => {
                let key = self.key_id(*number).to_owned();
                node_calls::end_nodes_of_key(services, self.id, key, path).await
            }
            KeyCall::ApproveLogin { login, user } => {
                let request = ApproveLoginRequest {
                    login_id: login.clone(),
                    tailnet_id: self.id,
                    user_id: self.user_id(*user),
                };
                let mut logins = LoginServiceClient::new(services.owners_admin());
                read_done(logins.approve_login(request).await)
            }
            KeyCall::SetSuspended { user, suspended } => {
                let request = UpdateUserRequest {
                    user: Some(User {
                        suspended: *suspended,
                        ..self.users[usize::from(*user)].clone()
                    }),
                    update_mask: Some(prost_types::FieldMask {
                        paths: vec!["suspended".to_owned()],
                    }),
                };
                let mut users = UserServiceClient::new(services.owners_admin());
                read_done(users.update_user(request).await)
            }
            KeyCall::Sign(key) => lock::sign_key(services, self, *key, path).await,
            KeyCall::OnNode(node, change) => {
                node_calls::change_node(services, (self.id, *node), self, *change, path).await
            }
        }
    }

    /// Makes a pre-auth key, which has a number from here on.
    pub async fn make_key(
        &mut self,
        services: &TestReplicas,
        number: KeyNumber,
        made: NewKey,
        replica: usize,
    ) -> KeyAnswer {
        let ends = services.now() + TimeDelta::seconds(made.lifetime);
        let key = PreAuthKey {
            tailnet_id: self.id,
            user_id: made.user.map_or(0, |user| self.user_id(user)),
            tags: made.tag.map(tag_name).into_iter().collect(),
            reusable: made.reusable,
            ephemeral: made.ephemeral,
            pre_approved: made.pre_approved,
            expires_at: Some(to_timestamp(ends)),
            ..PreAuthKey::default()
        };
        match create_key(services.admin(replica), key).await {
            Ok(issued) => {
                self.keys.insert(number, issued);
                KeyAnswer::Done
            }
            Err(status) => read_failure(&status),
        }
    }

    /// Returns the request of a client.
    #[must_use]
    pub fn register_request(&self, call: &RegisterCall, now: DateTime<Utc>) -> RegisterRequest {
        let (pre_auth_key, login_id) = match &call.credential {
            PresentedCredential::None => (String::new(), String::new()),
            PresentedCredential::PreAuthKey(number) => {
                let secret = self.keys.get(number).map(|key| key.secret.clone());
                (secret.unwrap_or_default(), String::new())
            }
            PresentedCredential::Login(login) => (String::new(), login.clone()),
        };
        let past = to_timestamp(now - TimeDelta::hours(1));
        let [.., high, low] = self.id.to_be_bytes();
        RegisterRequest {
            machine_key: self.machine_key(call.machine),
            node_key: self.node_key(call.node_key),
            old_node_key: call
                .old_key
                .map(|key| self.node_key(key))
                .unwrap_or_default(),
            pre_auth_key,
            login_id,
            expiry: call.is_logout.then_some(past),
            ephemeral: call.ephemeral,
            hostname: format!("machine{}", call.machine),
            os: "linux".to_owned(),
            client_version: "1.90.0".to_owned(),
            // Logins are limited by the network that they come from.
            source_address: format!("10.{high}.{low}.{}", call.machine),
            capability_version: 130,
            ..RegisterRequest::default()
        }
    }

    async fn register(
        &self,
        services: &TestReplicas,
        call: &RegisterCall,
        path: CallPath,
    ) -> KeyAnswer {
        let request = self.register_request(call, services.now());
        self.send_registration(services, request, path).await
    }

    /// Sends the request of a client.
    pub(crate) async fn send_registration(
        &self,
        services: &TestReplicas,
        request: RegisterRequest,
        path: CallPath,
    ) -> KeyAnswer {
        let gateway = services.gateway(path.replica);
        let answer = RegistrationServiceClient::new(gateway)
            .register(path.request(request))
            .await;
        let outcome = match answer {
            Ok(answer) => answer.into_inner().outcome.unwrap(),
            Err(status) => return read_failure(&status),
        };
        match outcome {
            Outcome::Registered(registered) => {
                let node = registered.node.unwrap();
                let (id, node_key) = (node.id, node.node_key);
                KeyAnswer::Registered { id, node_key }
            }
            Outcome::KeyExpired(expired) => {
                let id = expired.node.map(|node| node.id);
                KeyAnswer::KeyExpired { id }
            }
            Outcome::LoginNeeded(needed) => KeyAnswer::LoginNeeded(needed.login_id),
            Outcome::LoggedOut(_) => KeyAnswer::LoggedOut,
            Outcome::Refused(refused) => KeyAnswer::Refused(refused.reason()),
            Outcome::SignatureToRotate(_) => {
                unreachable!("no client here has a lock key to rotate with")
            }
        }
    }

    /// Returns what the services call a user.
    #[must_use]
    pub fn user_id(&self, user: u8) -> u64 {
        self.users[usize::from(user)].id
    }

    /// Returns what the services call a pre-auth key.
    #[must_use]
    pub fn key_id(&self, number: KeyNumber) -> &str {
        self.keys.get(&number).map_or("", |key| &key.id)
    }

    /// Says whether a pre-auth key works only once.
    #[must_use]
    pub fn is_one_off(&self, number: KeyNumber) -> bool {
        self.keys.get(&number).is_some_and(|key| key.is_one_off)
    }

    /// Returns the key of a machine.
    #[must_use]
    pub fn machine_key(&self, machine: Machine) -> Vec<u8> {
        self.key_bytes(b'm', u32::from(machine))
    }

    /// Returns a node key.
    #[must_use]
    pub fn node_key(&self, number: NodeKeyNumber) -> Vec<u8> {
        self.key_bytes(b'n', number)
    }

    fn key_bytes(&self, kind: u8, number: u32) -> Vec<u8> {
        let mut bytes = vec![kind; 32];
        bytes[..8].copy_from_slice(&self.id.to_be_bytes());
        bytes[8..12].copy_from_slice(&number.to_be_bytes());
        bytes
    }
}

pub(crate) async fn create_key(channel: GrpcChannel, key: PreAuthKey) -> Result<IssuedKey, Status> {
    let is_one_off = !key.reusable;
    let request = CreatePreAuthKeyRequest {
        key: Some(key),
        ..CreatePreAuthKeyRequest::default()
    };
    let made = PreAuthKeyServiceClient::new(channel)
        .create_pre_auth_key(request)
        .await?
        .into_inner();
    Ok(IssuedKey {
        id: made.key.unwrap_or_default().id,
        secret: made.secret,
        is_one_off,
    })
}

/// Returns the name of a tag.
#[must_use]
pub fn tag_name(tag: u8) -> String {
    format!("tag:{}", if tag == 0 { "a" } else { "b" })
}

/// Returns a time as messages have it.
#[must_use]
pub fn to_timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    bowline_proto::time::to_timestamp(time)
}

pub(crate) fn read_done<T>(answer: Result<Response<T>, Status>) -> KeyAnswer {
    match answer {
        Ok(_) => KeyAnswer::Done,
        Err(status) => read_failure(&status),
    }
}

pub(crate) fn read_failure(status: &Status) -> KeyAnswer {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => KeyAnswer::Lost,
        code => KeyAnswer::Failed(code),
    }
}

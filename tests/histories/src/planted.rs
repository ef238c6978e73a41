//! Bugs that are planted on purpose, to see that a history finds them. None of them is in a service: they change what the
//! database holds before a call, or what the services say, as such a bug would.

use bowline_proto::key_registry::v1::{Node, PreAuthKey};
use prost::Message as _;
use sqlx::AssertSqlSafe;

use crate::{
    call::{KeyAnswer, KeyCall, PresentedCredential},
    observed::ObservedTailnet,
    services::TestReplicas,
    tailnet::TestedTailnet,
};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedBug {
    /// The registry forgets which keys nodes had, so that one is bound again.
    RetiredKeyIsBoundAgain,
    /// A one-off key that was used lets another machine in.
    OneOffKeyIsNotSpent,
    /// A gateway does not heed that a node is disabled.
    DisabledNodeIsShown,
    /// The newest node is given the address of the oldest.
    AddressIsGivenTwice,
    /// A gateway does not heed that a node waits for a signature.
    UnsignedNodeIsShown,
    /// A client whose key has ended is answered that all is well.
    EndOfKeyIsIgnored,
}

impl PlantedBug {
    /// Changes what the database holds, before a call.
    pub(crate) async fn prepare_call(
        self,
        services: &TestReplicas,
        tailnet: &TestedTailnet,
        call: &KeyCall,
    ) {
        match (self, call) {
            (Self::RetiredKeyIsBoundAgain, KeyCall::Register(call)) => {
                let (keys, nodes) = (services.table("node_keys"), services.table("nodes"));
                let sql = format!(
                    "DELETE FROM {keys} WHERE node_key = $1 AND node_key NOT IN (SELECT node_key FROM {nodes})"
                );
                let forgetting =
                    sqlx::query(AssertSqlSafe(sql)).bind(tailnet.node_key(call.node_key));
                forgetting.execute(services.tables()).await.unwrap();
            }
            (Self::OneOffKeyIsNotSpent, KeyCall::Register(call)) => {
                set_reusable(services, tailnet, &call.credential, true).await;
            }
            _ => {}
        }
    }

    /// Changes what the database holds, after a call.
    pub(crate) async fn finish_call(
        self,
        services: &TestReplicas,
        tailnet: &TestedTailnet,
        call: &KeyCall,
    ) {
        if let (Self::OneOffKeyIsNotSpent, KeyCall::Register(call)) = (self, call) {
            set_reusable(services, tailnet, &call.credential, false).await;
        }
    }

    /// Changes what a client is answered.
    pub(crate) fn alter_answer(
        self,
        tailnet: &TestedTailnet,
        call: &KeyCall,
        answer: &mut KeyAnswer,
    ) {
        if let (
            Self::EndOfKeyIsIgnored,
            KeyCall::Register(call),
            KeyAnswer::KeyExpired { id: Some(id) },
        ) = (self, call, &*answer)
        {
            let node_key = tailnet.node_key(call.node_key);
            *answer = KeyAnswer::Registered { id: *id, node_key };
        }
    }

    /// Changes what there seems to be.
    pub(crate) fn alter_nodes(self, seen: &mut ObservedTailnet) {
        if self != Self::AddressIsGivenTwice {
            return;
        }
        let mut nodes: Vec<_> = seen
            .nodes
            .iter_mut()
            .filter_map(|one| one.node.as_mut())
            .collect();
        nodes.sort_by_key(|node| node.id);
        if let [oldest, .., newest] = &mut *nodes {
            newest.ipv4.clone_from(&oldest.ipv4);
        }
    }

    /// Changes what a gateway reads in the log.
    pub(crate) fn alter_entry(self, node: &mut Node) {
        match self {
            Self::DisabledNodeIsShown => node.disabled = false,
            Self::UnsignedNodeIsShown => node.awaits_signature = false,
            _ => {}
        }
    }
}

/// Lets a one-off key be reusable, or not again, past the service.
async fn set_reusable(
    services: &TestReplicas,
    tailnet: &TestedTailnet,
    credential: &PresentedCredential,
    is_reusable: bool,
) {
    let PresentedCredential::PreAuthKey(number) = *credential else {
        return;
    };
    if !tailnet.is_one_off(number) {
        return;
    }
    let (table, id) = (services.table("pre_auth_keys"), tailnet.key_id(number));
    let sql = format!("SELECT body FROM {table} WHERE id = $1");
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(id.to_owned());
    let body: Vec<u8> = query.fetch_one(services.tables()).await.unwrap();
    let mut key = PreAuthKey::decode(&*body).unwrap();
    key.reusable = is_reusable;
    let sql = format!("UPDATE {table} SET body = $2 WHERE id = $1");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(id.to_owned());
    let query = query.bind(key.encode_to_vec());
    query.execute(services.tables()).await.unwrap();
}

//! Who users are at identity providers, as administrators say.

use bowline_proto::identity::v1::{
    Connection, LinkUserRequest, ListUserLinksRequest, ListUsersRequest, UnlinkUserRequest, User,
    UserLink, connection_service_client::ConnectionServiceClient,
    user_service_client::UserServiceClient,
};
use bowline_service_kit::GrpcChannel;
use bowline_test_servers::on_both;
use serde_json::json;
use tonic::{Code, Status};

use crate::provider_logins::TestCorp;

on_both!(TestCorp::start =>
    person_at_a_provider_becomes_another_user,
    link_that_is_not_there_is_not_unlinked,
    user_is_found_by_name_in_whatever_case,
);

const SUBJECT: &str = "person-1";

impl TestCorp {
    fn connections(&self) -> ConnectionServiceClient<GrpcChannel> {
        ConnectionServiceClient::new(self.identity.admin())
    }

    async fn link(&self, user: &User) -> Result<(), Status> {
        let request = LinkUserRequest {
            tailnet_id: self.tailnet.id,
            user_id: user.id,
            connection_id: self.connection.id,
            subject: SUBJECT.to_owned(),
        };
        self.connections().link_user(request).await?;
        Ok(())
    }

    async fn unlink(
        &self,
        user: &User,
        connection: &Connection,
        subject: &str,
    ) -> Result<(), Status> {
        let request = UnlinkUserRequest {
            tailnet_id: self.tailnet.id,
            user_id: user.id,
            connection_id: connection.id,
            subject: subject.to_owned(),
        };
        self.connections().unlink_user(request).await?;
        Ok(())
    }

    async fn list_links(&self, user_id: u64) -> Vec<UserLink> {
        let request = ListUserLinksRequest {
            tailnet_id: self.tailnet.id,
            user_id,
        };
        let listed = self.connections().list_user_links(request).await.unwrap();
        listed.into_inner().links
    }
}

async fn person_at_a_provider_becomes_another_user(corp: TestCorp) {
    let claims = json!({ "groups": ["crew"] });
    corp.provider.change(|behaviour| behaviour.claims = claims);
    let secret = corp.sign_in_by(&corp.connection).await.unwrap();
    let first = corp.user().await;
    assert_eq!(first.groups, ["crew"]);
    let tailnet_id = corp.tailnet.id;
    let second = corp.identity.new_user(tailnet_id, "kim@home.example").await;
    let second = second.unwrap();
    let links = corp.list_links(first.id).await;
    let [link] = &links[..] else {
        panic!("one link: {links:?}")
    };
    assert_eq!(
        (link.connection_name.as_str(), link.subject.as_str()),
        ("Corp", SUBJECT)
    );
    let refused = corp.link(&second).await.unwrap_err();
    assert!(refused.message().contains("unlink"), "{refused}");

    corp.unlink(&first, &corp.connection, SUBJECT)
        .await
        .unwrap();
    corp.assert_ended(&secret).await;
    assert_eq!(corp.list_links(first.id).await, []);
    assert_eq!(
        corp.user().await.groups,
        [""; 0],
        "what its claims gave is gone"
    );
    corp.link(&second).await.unwrap();
    let again = corp.sign_in("laptop").await;
    assert_eq!(corp.find(&again).await.unwrap().user_id, second.id);
    assert_eq!(corp.list_links(second.id).await.len(), 1);
    let audited = corp.identity.audited_details("user.unlink").await;
    let detail = json!({ "connection": "Corp", "subject": SUBJECT });
    assert_eq!(audited, [detail]);
}

async fn link_that_is_not_there_is_not_unlinked(corp: TestCorp) {
    let secret = corp.sign_in("laptop").await;
    let user = corp.user().await;
    let other = corp.connect("Other", |_| {}).await;
    let somebody = corp
        .identity
        .new_user(corp.tailnet.id, "lee@example.com")
        .await;
    let somebody = somebody.unwrap();
    for (user, connection, subject) in [
        (&user, &corp.connection, "person-2"),
        (&user, &other, SUBJECT),
        (&somebody, &corp.connection, SUBJECT),
    ] {
        let refused = corp.unlink(user, connection, subject).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused}");
    }
    corp.find(&secret).await.unwrap();
}

async fn user_is_found_by_name_in_whatever_case(corp: TestCorp) {
    let lee = corp
        .identity
        .new_user(corp.tailnet.id, "Lee@Example.com")
        .await;
    let find = async |name: &str| {
        let request = ListUsersRequest {
            tailnet_id: corp.tailnet.id,
            login_name: name.to_owned(),
            ..ListUsersRequest::default()
        };
        let mut client = UserServiceClient::new(corp.identity.admin());
        let found = client.list_users(request).await.unwrap().into_inner().users;
        found.into_iter().map(|user| user.id).collect::<Vec<_>>()
    };
    assert_eq!(find("lee@example.COM").await, [lee.unwrap().id]);
    assert_eq!(find("nobody@example.com").await, [0_u64; 0]);
}

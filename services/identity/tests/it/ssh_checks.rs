//! SSH connections that wait until a person has proven anew who he or she is.

use bowline_proto::identity::v1::invitation_service_client::InvitationServiceClient;
use bowline_proto::identity::v1::login_attempt_service_client::LoginAttemptServiceClient;
use bowline_proto::identity::v1::login_service_client::LoginServiceClient;
use bowline_proto::identity::v1::user_service_client::UserServiceClient;
use bowline_proto::identity::v1::{
    AcceptInvitationRequest, ApproveLoginRequest, BeginLoginAttemptRequest, CheckSshRequest,
    CreateInvitationRequest, DecideLoginAttemptRequest, GetLoginRequest, Invitation,
    ListLoginsRequest, Login, LoginPurpose, LoginState, SshConnection, UpdateUserRequest, User,
};
use bowline_service_kit::{Caller, GrpcChannel, ServiceName};
use bowline_test_servers::on_both;
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::identity::{TestIdentity, channel};

on_both!(TestIdentity::start =>
    check_by_the_owner_of_the_source_holds_for_its_period,
    denied_check_lets_nobody_in_and_is_not_kept,
    nobody_but_the_owner_of_the_source_answers,
    suspended_users_are_not_asked,
);

const BROWSER: [u8; 32] = [9; 32];

/// A person with a laptop, from which he or she connects.
struct TestConnection {
    identity: TestIdentity,
    user: User,
    ssh: SshConnection,
}

impl TestConnection {
    async fn new(identity: TestIdentity) -> Self {
        let home = identity.new_tailnet("home").await;
        let user = identity.new_user(home.id, "kim@example.com").await.unwrap();
        let ssh = SshConnection {
            tailnet_id: home.id,
            source_node_id: 11,
            source_name: "laptop".to_owned(),
            user_id: user.id,
            destination_node_id: 12,
            destination_name: "db".to_owned(),
            local_user: "root".to_owned(),
        };
        Self {
            identity,
            user,
            ssh,
        }
    }

    fn gateway(&self) -> GrpcChannel {
        let caller = Caller::Service(ServiceName::NetmapGateway);
        channel(self.identity.identity(), caller)
    }

    /// Asks as a gateway does; returns the login that the connection waits for.
    async fn check(&self, period_seconds: u64) -> Result<Option<Login>, Status> {
        let request = CheckSshRequest {
            ssh: Some(self.ssh.clone()),
            period_seconds,
            source_machine_key: vec![1; 32],
            source_address: "192.0.2.7".to_owned(),
        };
        let mut client = LoginServiceClient::new(self.gateway());
        Ok(client.check_ssh(request).await?.into_inner().login)
    }

    /// Opens a session of somebody by a link, and begins to answer a login by it.
    async fn begin(&self, login: &Login, login_name: &str) -> Result<String, Status> {
        let request = CreateInvitationRequest {
            invitation: Some(Invitation {
                tailnet_id: self.ssh.tailnet_id,
                login_name: login_name.to_owned(),
                ..Invitation::default()
            }),
            lifetime: None,
        };
        let mut admin = InvitationServiceClient::new(self.identity.admin());
        let secret = admin.create_invitation(request).await?.into_inner().secret;
        let request = AcceptInvitationRequest {
            secret,
            description: None,
        };
        let mut client = InvitationServiceClient::new(self.gateway());
        let session_secret = client.accept_invitation(request).await?.into_inner().secret;
        let request = BeginLoginAttemptRequest {
            login_id: login.id.clone(),
            browser: BROWSER.to_vec(),
            session_secret,
            ..BeginLoginAttemptRequest::default()
        };
        let mut client = LoginAttemptServiceClient::new(self.gateway());
        let begun = client.begin_login_attempt(request).await?.into_inner();
        Ok(begun.attempt_id)
    }

    async fn decide(&self, attempt_id: String, approve: bool) {
        let request = DecideLoginAttemptRequest {
            attempt_id,
            browser: BROWSER.to_vec(),
            approve,
        };
        let mut client = LoginAttemptServiceClient::new(self.gateway());
        client.decide_login_attempt(request).await.unwrap();
    }

    async fn find(&self, login: &Login) -> Login {
        let request = GetLoginRequest {
            login_id: login.id.clone(),
        };
        let mut client = LoginServiceClient::new(self.gateway());
        let found = client.get_login(request).await.unwrap().into_inner();
        found.login.unwrap()
    }
}

async fn check_by_the_owner_of_the_source_holds_for_its_period(identity: TestIdentity) {
    let test = TestConnection::new(identity).await;
    let login = test.check(3600).await.unwrap().unwrap();
    assert_eq!(login.purpose(), LoginPurpose::SshCheck);
    let again = test.check(3600).await.unwrap().unwrap();
    assert_eq!(again.id, login.id, "two connections wait for one login");

    let attempt = test.begin(&login, "kim@example.com").await.unwrap();
    assert_eq!(test.find(&login).await.state(), LoginState::Pending);
    test.decide(attempt, true).await;
    let decided = test.find(&login).await;
    assert_eq!(
        (decided.state(), decided.user_id),
        (LoginState::Approved, test.user.id)
    );
    assert_eq!(test.check(3600).await.unwrap(), None);
    let always = test.check(0).await.unwrap();
    assert_ne!(always.unwrap().id, login.id, "each connection is checked");

    let audited = test.identity.audited_details("ssh.check").await;
    assert_eq!(audited.len(), 1);
    assert_eq!(audited[0]["device"]["source"], "laptop");
    assert_eq!(audited[0]["device"]["destination"], "db");
    assert_eq!(audited[0]["device"]["local_user"], "root");

    let replica = test.identity.start_replica().await;
    let caller = Caller::Service(ServiceName::NetmapGateway);
    let mut client = LoginServiceClient::new(channel(&replica, caller));
    let request = CheckSshRequest {
        ssh: Some(SshConnection {
            user_id: 0,
            ..test.ssh.clone()
        }),
        period_seconds: 3600,
        source_machine_key: vec![1; 32],
        ..CheckSshRequest::default()
    };
    let of_nobody = client.check_ssh(request).await.unwrap_err();
    assert_eq!(of_nobody.code(), Code::NotFound);
    let request = CheckSshRequest {
        ssh: Some(test.ssh.clone()),
        period_seconds: 3600,
        source_machine_key: vec![1; 32],
        ..CheckSshRequest::default()
    };
    let answer = client.check_ssh(request).await.unwrap().into_inner();
    assert_eq!(answer.login, None, "every replica knows");
}

async fn denied_check_lets_nobody_in_and_is_not_kept(identity: TestIdentity) {
    let test = TestConnection::new(identity).await;
    let login = test.check(3600).await.unwrap().unwrap();
    let attempt = test.begin(&login, "kim@example.com").await.unwrap();
    test.decide(attempt, false).await;
    let decided = test.find(&login).await;
    assert_eq!(decided.state(), LoginState::Denied);
    assert_eq!(
        decided.denial,
        "kim@example.com does not want this connection"
    );
    assert_ne!(test.check(3600).await.unwrap().unwrap().id, login.id);
    assert_eq!(test.identity.audited_details("ssh.deny").await.len(), 1);
}

async fn nobody_but_the_owner_of_the_source_answers(identity: TestIdentity) {
    let test = TestConnection::new(identity).await;
    let login = test.check(3600).await.unwrap().unwrap();
    let other = test.begin(&login, "ben@example.com").await.unwrap_err();
    assert_eq!(other.code(), Code::FailedPrecondition);
    assert!(
        other.message().contains("belongs to somebody else"),
        "{other}"
    );

    let mut admin = LoginServiceClient::new(test.identity.admin());
    let request = ListLoginsRequest::default();
    let listed = admin.list_logins(request).await.unwrap().into_inner();
    assert!(listed.logins.is_empty(), "{listed:?}");
    let request = ApproveLoginRequest {
        login_id: login.id.clone(),
        tailnet_id: test.user.tailnet_id,
        user_id: test.user.id,
    };
    let refused = admin.approve_login(request).await.unwrap_err();
    assert!(refused.message().contains("only the person"), "{refused}");
    assert_eq!(test.find(&login).await.state(), LoginState::Pending);
}

async fn suspended_users_are_not_asked(identity: TestIdentity) {
    let test = TestConnection::new(identity).await;
    let request = UpdateUserRequest {
        user: Some(User {
            suspended: true,
            ..test.user.clone()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["suspended".to_owned()],
        }),
    };
    let mut users = UserServiceClient::new(test.identity.admin());
    users.update_user(request).await.unwrap();
    let refused = test.check(3600).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("suspended"), "{refused}");
}

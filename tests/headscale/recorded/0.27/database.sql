--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: api_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.api_keys (
    id bigint NOT NULL,
    prefix text,
    hash bytea,
    created_at timestamp with time zone,
    expiration timestamp with time zone,
    last_seen timestamp with time zone
);


--
-- Name: api_keys_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.api_keys_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: api_keys_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.api_keys_id_seq OWNED BY public.api_keys.id;


--
-- Name: migrations; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.migrations (
    id character varying(255) NOT NULL
);


--
-- Name: nodes; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.nodes (
    id bigint NOT NULL,
    machine_key text,
    node_key text,
    disco_key text,
    endpoints text,
    host_info text,
    ipv4 text,
    ipv6 text,
    hostname text,
    given_name character varying(63),
    user_id bigint,
    register_method text,
    forced_tags text,
    auth_key_id bigint,
    expiry timestamp with time zone,
    last_seen timestamp with time zone,
    approved_routes text,
    created_at timestamp with time zone,
    updated_at timestamp with time zone,
    deleted_at timestamp with time zone
);


--
-- Name: nodes_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.nodes_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: nodes_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.nodes_id_seq OWNED BY public.nodes.id;


--
-- Name: policies; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.policies (
    id bigint NOT NULL,
    created_at timestamp with time zone,
    updated_at timestamp with time zone,
    deleted_at timestamp with time zone,
    data text
);


--
-- Name: policies_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.policies_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: policies_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.policies_id_seq OWNED BY public.policies.id;


--
-- Name: pre_auth_keys; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.pre_auth_keys (
    id bigint NOT NULL,
    key text,
    user_id bigint,
    reusable boolean,
    ephemeral boolean DEFAULT false,
    used boolean DEFAULT false,
    tags text,
    created_at timestamp with time zone,
    expiration timestamp with time zone
);


--
-- Name: pre_auth_keys_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.pre_auth_keys_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: pre_auth_keys_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.pre_auth_keys_id_seq OWNED BY public.pre_auth_keys.id;


--
-- Name: users; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.users (
    id bigint NOT NULL,
    created_at timestamp with time zone,
    updated_at timestamp with time zone,
    deleted_at timestamp with time zone,
    name text,
    display_name text,
    email text,
    provider_identifier text,
    provider text,
    profile_pic_url text
);


--
-- Name: users_id_seq; Type: SEQUENCE; Schema: public; Owner: -
--

CREATE SEQUENCE public.users_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: users_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: -
--

ALTER SEQUENCE public.users_id_seq OWNED BY public.users.id;


--
-- Name: api_keys id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys ALTER COLUMN id SET DEFAULT nextval('public.api_keys_id_seq'::regclass);


--
-- Name: nodes id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.nodes ALTER COLUMN id SET DEFAULT nextval('public.nodes_id_seq'::regclass);


--
-- Name: policies id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policies ALTER COLUMN id SET DEFAULT nextval('public.policies_id_seq'::regclass);


--
-- Name: pre_auth_keys id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.pre_auth_keys ALTER COLUMN id SET DEFAULT nextval('public.pre_auth_keys_id_seq'::regclass);


--
-- Name: users id; Type: DEFAULT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users ALTER COLUMN id SET DEFAULT nextval('public.users_id_seq'::regclass);


--
-- Data for Name: api_keys; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.api_keys VALUES (1, 'hLY39gn', '\x243261243130244274796e634d747338384849753741476a475839672e444236324d486a73346e45644a535a76437a5154716f382f5074566d4a7661', '2026-11-27 23:05:44.266681+00', '2027-02-25 23:05:44.116126+00', NULL);


--
-- Data for Name: migrations; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.migrations VALUES ('202312101416');
INSERT INTO public.migrations VALUES ('202312101430');
INSERT INTO public.migrations VALUES ('202402151347');
INSERT INTO public.migrations VALUES ('2024041121742');
INSERT INTO public.migrations VALUES ('202406021630');
INSERT INTO public.migrations VALUES ('202409271400');
INSERT INTO public.migrations VALUES ('202407191627');
INSERT INTO public.migrations VALUES ('202408181235');
INSERT INTO public.migrations VALUES ('202501221827');
INSERT INTO public.migrations VALUES ('202501311657');
INSERT INTO public.migrations VALUES ('202502070949');
INSERT INTO public.migrations VALUES ('202502131714');
INSERT INTO public.migrations VALUES ('202502171819');
INSERT INTO public.migrations VALUES ('202505091439');
INSERT INTO public.migrations VALUES ('202505141324');
INSERT INTO public.migrations VALUES ('202507021200');
INSERT INTO public.migrations VALUES ('202510311551');
INSERT INTO public.migrations VALUES ('202511101554-drop-old-idx');


--
-- Data for Name: nodes; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.nodes VALUES (10, 'mkey:f0ead9dcad554caa299519d575d252ba4dc162679f819e686690f70a99b5992c', 'nodekey:25e6e5d7ae34aae0d8feb80396a9c3db397e5af33ff096991a667e853bc8a660', 'discokey:0000000000000000000000000000000000000000000000000000000000000000', NULL, '{"OS":"TestOS","Hostname":"desk-06","RoutableIPs":["10.30.5.0/24"]}', '100.64.0.10', 'fd7a:115c:a1e0::a', 'desk-06', 'desk-06', 3, 'cli', NULL, NULL, '0001-01-01 00:00:00+00', '2026-11-27 23:06:01.102769+00', NULL, '2026-11-27 23:06:01.103268+00', '2026-11-27 23:06:02.060033+00', NULL);
INSERT INTO public.nodes VALUES (7, 'mkey:83140369c426954672345d9ae95f91387b2f6e1398203e514afa8158d4646142', 'nodekey:57a219fe5aa69624d6bb0cbc7bc59e2816fda0228922b9126b82947fef97ef4f', 'discokey:0000000000000000000000000000000000000000000000000000000000000000', NULL, '{"OS":"TestOS","Hostname":"desk-03"}', '100.64.0.7', 'fd7a:115c:a1e0::7', 'desk-03', 'desk-03', 3, 'cli', NULL, NULL, '0001-01-01 00:00:00+00', '2026-11-27 23:05:58.09901+00', NULL, '2026-11-27 23:05:58.099426+00', '2026-11-27 23:06:04.052825+00', NULL);
INSERT INTO public.nodes VALUES (4, 'mkey:dd2ac14c225cd9275b8df4d22422b2590cdc9163d32afdf5b9ff389f60054c18', 'nodekey:552665b982b5be6c74083e86e26080c39c756461b85f4f9d3a89da665a137c62', 'discokey:923fa0b83da6ac68f1f32a6f7c982966c2bf130a5812971b5e8e18b97f0bde2a', '["10.77.0.1:41644"]', '{"IPNVersion":"1.102.5-ERR-BuildInfo","BackendLogID":"fbaa3debe1efede7db065acdfcb7ec5269361a086b4b2131b2cc0ed8c0956678","OS":"linux","OSVersion":"6.1.0","Container":true,"Distro":"debian","DistroVersion":"12.11","DistroCodeName":"bookworm","Desktop":false,"Hostname":"runner","NoLogsNoSupport":true,"Machine":"x86_64","GoArch":"amd64","GoArchVar":"v1","GoVersion":"go1.26.8","Services":[{"Proto":"peerapi4","Port":37067},{"Proto":"peerapi6","Port":37067},{"Proto":"peerapi-dns-proxy","Port":1}],"NetInfo":{"MappingVariesByDestIP":null,"HairPinning":null,"WorkingIPv6":false,"OSHasIPv6":true,"WorkingUDP":true,"WorkingICMPv4":false,"UPnP":false,"PMP":false,"PCP":false,"PreferredDERP":999,"DERPLatency":{"999-v4":0.000605443}},"Userspace":true,"UserspaceRouter":true,"AppConnector":false,"StateEncrypted":false}', '100.64.0.4', 'fd7a:115c:a1e0::4', 'runner', 'runner', 3, 'authkey', '[]', 4, '0001-01-01 00:00:00+00', '2026-11-27 23:05:57.036741+00', NULL, '2026-11-27 23:05:54.060009+00', '2026-11-27 23:05:57.038057+00', NULL);
INSERT INTO public.nodes VALUES (9, 'mkey:5058bed995c7598a7abbadc98a313834dfe4436fd05ee4c9ee02207e310f6735', 'nodekey:a3d43b5728f5185c49e2d0373987cff54e3631c0502504e9d2c103206a5e6e77', 'discokey:0000000000000000000000000000000000000000000000000000000000000000', NULL, '{"OS":"TestOS","Hostname":"desk-05"}', '100.64.0.9', 'fd7a:115c:a1e0::9', 'desk-05', 'desk-05', 2, 'cli', NULL, NULL, '0001-01-01 00:00:00+00', '2026-11-27 23:06:00.10186+00', NULL, '2026-11-27 23:06:00.102401+00', '2026-11-27 23:06:01.046556+00', NULL);
INSERT INTO public.nodes VALUES (3, 'mkey:5a3c1ba3f7713e051fee8f18a7f67281bb4d808412ba00188c1e8dfee38d0a20', 'nodekey:6bab4e62d5f7eaba1811b3d66ffe5df9f29be9645321dd32ab839615cbcbc72d', 'discokey:0c5fbc209356c54fbad2f7c6de6a03649e64b23efeb349bd84231094b6b11627', '["10.77.0.1:41643"]', '{"IPNVersion":"1.102.5-ERR-BuildInfo","BackendLogID":"fbaa3debe1efede7db065acdfcb7ec5269361a086b4b2131b2cc0ed8c0956678","OS":"linux","OSVersion":"6.1.0","Container":true,"Distro":"debian","DistroVersion":"12.11","DistroCodeName":"bookworm","Desktop":false,"Hostname":"server","NoLogsNoSupport":true,"Machine":"x86_64","GoArch":"amd64","GoArchVar":"v1","GoVersion":"go1.26.8","RoutableIPs":["10.20.0.0/16"],"Services":[{"Proto":"peerapi4","Port":34152},{"Proto":"peerapi6","Port":34152},{"Proto":"peerapi-dns-proxy","Port":1}],"NetInfo":{"MappingVariesByDestIP":null,"HairPinning":null,"WorkingIPv6":false,"OSHasIPv6":true,"WorkingUDP":true,"WorkingICMPv4":false,"UPnP":false,"PMP":false,"PCP":false,"PreferredDERP":999,"DERPLatency":{"999-v4":0.00107312}},"Userspace":true,"UserspaceRouter":true,"AppConnector":false,"StateEncrypted":false}', '100.64.0.3', 'fd7a:115c:a1e0::3', 'server', 'server', 1, 'authkey', '["tag:server"]', 3, '0001-01-01 00:00:00+00', '2026-11-27 23:05:54.01853+00', '["10.20.0.0/16"]', '2026-11-27 23:05:51.068518+00', '2026-11-27 23:06:02.550558+00', NULL);
INSERT INTO public.nodes VALUES (5, 'mkey:4dfefa1a68b53e3e354fa2b05e32839c93ec50a477558332b1fc345044a8ba7a', 'nodekey:d846f7c7cd304f9f32489aa51df0f1a18c51d258497e12887a4b46db465a931f', 'discokey:0000000000000000000000000000000000000000000000000000000000000000', NULL, '{"OS":"TestOS","Hostname":"desk-01","RoutableIPs":["10.30.0.0/24"]}', '100.64.0.5', 'fd7a:115c:a1e0::5', 'desk-01', 'desk-01', 1, 'cli', NULL, NULL, '0001-01-01 00:00:00+00', '2026-11-27 23:05:56.13042+00', '["10.30.0.0/24"]', '2026-11-27 23:05:56.130909+00', '2026-11-27 23:06:03.050682+00', NULL);
INSERT INTO public.nodes VALUES (6, 'mkey:8176a0646a87f27ed030f6536b69c623bafbfc041e2e39b1675f8a38bbb5253d', 'nodekey:7ad01c183c6c8e71c31a960773d2be11a405ca483f481237e60e7115db22b11e', 'discokey:0000000000000000000000000000000000000000000000000000000000000000', NULL, '{"OS":"TestOS","Hostname":"desk-02"}', '100.64.0.6', 'fd7a:115c:a1e0::6', 'desk-02', 'kitchen', 2, 'cli', NULL, NULL, '0001-01-01 00:00:00+00', '2026-11-27 23:05:57.113554+00', NULL, '2026-11-27 23:05:57.114368+00', '2026-11-27 23:06:03.552348+00', NULL);
INSERT INTO public.nodes VALUES (1, 'mkey:858af9486e805e5a72ab5652499e4fa2429938bbbc0d2b024a82eb7a35bdc37c', 'nodekey:0bf0b41c720d4ebe39c1961c311867f1f3400bf9af32f1c8f1f1f9b12b8b1f00', 'discokey:42d61857480e0f97d6031a7a1c014131f57416900f6b03138a0e0058ac228139', '["10.77.0.1:41641"]', '{"IPNVersion":"1.102.5-ERR-BuildInfo","BackendLogID":"fbaa3debe1efede7db065acdfcb7ec5269361a086b4b2131b2cc0ed8c0956678","OS":"linux","OSVersion":"6.1.0","Container":true,"Distro":"debian","DistroVersion":"12.11","DistroCodeName":"bookworm","Desktop":false,"Hostname":"laptop","NoLogsNoSupport":true,"Machine":"x86_64","GoArch":"amd64","GoArchVar":"v1","GoVersion":"go1.26.8","Services":[{"Proto":"peerapi4","Port":58436},{"Proto":"peerapi6","Port":58436},{"Proto":"peerapi-dns-proxy","Port":1}],"NetInfo":{"MappingVariesByDestIP":null,"HairPinning":null,"WorkingIPv6":false,"OSHasIPv6":true,"WorkingUDP":true,"WorkingICMPv4":false,"UPnP":false,"PMP":false,"PCP":false,"PreferredDERP":999,"DERPLatency":{"999-v4":0.000045178}},"Userspace":true,"UserspaceRouter":true,"AppConnector":false,"StateEncrypted":false}', '100.64.0.1', 'fd7a:115c:a1e0::1', 'laptop', 'laptop', 1, 'authkey', '[]', 1, '0001-01-01 00:00:00+00', '2026-11-27 23:06:07.057221+00', NULL, '2026-11-27 23:05:45.310065+00', '2026-11-27 23:06:07.062879+00', NULL);
INSERT INTO public.nodes VALUES (8, 'mkey:ab5359eb2c40f1766ef7c487a68fa7812ecbe119132244b0ddf67fd607e5014e', 'nodekey:a162cefa757ea7f0e44c536a2f6a4d3c327ac79a57d49390703fc91c82ee457e', 'discokey:0000000000000000000000000000000000000000000000000000000000000000', NULL, '{"OS":"TestOS","Hostname":"desk-04"}', '100.64.0.8', 'fd7a:115c:a1e0::8', 'desk-04', 'desk-04', 1, 'cli', '["tag:router"]', NULL, '0001-01-01 00:00:00+00', '2026-11-27 23:05:59.114748+00', NULL, '2026-11-27 23:05:59.1159+00', '2026-11-27 23:06:04.553672+00', NULL);
INSERT INTO public.nodes VALUES (2, 'mkey:e1be9b0c49a363e193ae60649c43cd214d0014c83a47aa2b35a078c060046751', 'nodekey:6958b4aa88291015821ca8b1288bfb2bf5c2975c6817c01e7afababa09979f24', 'discokey:79be961b462d664845113cf4961e396c0fade5f1cef68ac71fdaa25bbb3f4e2e', '["10.77.0.1:41642"]', '{"IPNVersion":"1.102.5-ERR-BuildInfo","BackendLogID":"fbaa3debe1efede7db065acdfcb7ec5269361a086b4b2131b2cc0ed8c0956678","OS":"linux","OSVersion":"6.1.0","Container":true,"Distro":"debian","DistroVersion":"12.11","DistroCodeName":"bookworm","Desktop":false,"Hostname":"phone","NoLogsNoSupport":true,"Machine":"x86_64","GoArch":"amd64","GoArchVar":"v1","GoVersion":"go1.26.8","Services":[{"Proto":"peerapi4","Port":46590},{"Proto":"peerapi6","Port":46590},{"Proto":"peerapi-dns-proxy","Port":1}],"NetInfo":{"MappingVariesByDestIP":null,"HairPinning":null,"WorkingIPv6":false,"OSHasIPv6":true,"WorkingUDP":true,"WorkingICMPv4":false,"UPnP":false,"PMP":false,"PCP":false,"PreferredDERP":999,"DERPLatency":{"999-v4":0.000088011}},"Userspace":true,"UserspaceRouter":true,"AppConnector":false,"StateEncrypted":false}', '100.64.0.2', 'fd7a:115c:a1e0::2', 'phone', 'phone', 2, 'authkey', '[]', 2, '0001-01-01 00:00:00+00', '2026-11-27 23:06:07.558477+00', NULL, '2026-11-27 23:05:48.07059+00', '2026-11-27 23:06:07.559759+00', NULL);


--
-- Data for Name: policies; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.policies VALUES (1, '2026-11-27 23:05:43.483993+00', '2026-11-27 23:05:43.483993+00', NULL, '{
  // Who is who. carol@ is called carol@example.com by her provider.
  "groups": {
    "group:admins": ["alice@"],
    "group:dev":    ["bob@example.com", "carol@"],
  },
  "tagOwners": {
    "tag:server": ["group:admins"],
    "tag:router": ["alice@", "carol@"],
  },
  "hosts": {
    "office": "10.20.0.0/16",
  },
  "acls": [
    {"action": "accept", "src": ["group:admins"], "dst": ["*:*"]},
    {"action": "accept", "src": ["group:dev"], "dst": ["tag:server:80,443"]},
    {"action": "accept", "src": ["carol@"], "dst": ["office:*", "bob@:22"]},
  ],
  "ssh": [
    {"action": "accept", "src": ["group:admins"], "dst": ["tag:server"], "users": ["root", "autogroup:nonroot"]},
  ],
  "autoApprovers": {
    "routes": {"10.40.0.0/16": ["tag:router"]},
  },
}
');


--
-- Data for Name: pre_auth_keys; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.pre_auth_keys VALUES (1, '09cad60f8e8184e9da10e8b5fe2c8bb54ec8a135537ff624', 1, true, false, false, '[]', '2026-11-27 23:05:44.018907+00', '2126-11-03 23:05:44.014632+00');
INSERT INTO public.pre_auth_keys VALUES (4, 'c95ddf07d384121dac67cf9304f8ee95f0ffbced24150809', 3, true, true, false, '[]', '2026-11-27 23:05:44.094479+00', '2126-11-03 23:05:44.092073+00');
INSERT INTO public.pre_auth_keys VALUES (2, 'bbdec1537de79074b4b48a1ee810909d79dd5b5247586834', 2, false, false, true, '[]', '2026-11-27 23:05:44.047779+00', '2126-11-03 23:05:44.044093+00');
INSERT INTO public.pre_auth_keys VALUES (3, 'a4b6bdfddd019f5a53f44a4330faae4a418c9a107abccfb4', 1, false, false, true, '["tag:server"]', '2026-11-27 23:05:44.07106+00', '2126-11-03 23:05:44.068794+00');


--
-- Data for Name: users; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.users VALUES (1, '2026-11-27 23:05:42.350782+00', '2026-11-27 23:05:42.350782+00', NULL, 'alice', '', '', NULL, '', '');
INSERT INTO public.users VALUES (2, '2026-11-27 23:05:42.374995+00', '2026-11-27 23:05:42.374995+00', NULL, 'bob', 'Bob', 'bob@example.com', NULL, '', '');
INSERT INTO public.users VALUES (3, '2026-11-27 23:05:42.397425+00', '2026-11-27 23:05:42.397425+00', NULL, 'carol', '', 'carol@example.com', NULL, '', '');


--
-- Name: api_keys_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.api_keys_id_seq', 1, true);


--
-- Name: nodes_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.nodes_id_seq', 10, true);


--
-- Name: policies_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.policies_id_seq', 1, true);


--
-- Name: pre_auth_keys_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.pre_auth_keys_id_seq', 4, true);


--
-- Name: users_id_seq; Type: SEQUENCE SET; Schema: public; Owner: -
--

SELECT pg_catalog.setval('public.users_id_seq', 3, true);


--
-- Name: api_keys api_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);


--
-- Name: migrations migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (id);


--
-- Name: nodes nodes_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.nodes
    ADD CONSTRAINT nodes_pkey PRIMARY KEY (id);


--
-- Name: policies policies_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.policies
    ADD CONSTRAINT policies_pkey PRIMARY KEY (id);


--
-- Name: pre_auth_keys pre_auth_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.pre_auth_keys
    ADD CONSTRAINT pre_auth_keys_pkey PRIMARY KEY (id);


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: idx_api_keys_prefix; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX idx_api_keys_prefix ON public.api_keys USING btree (prefix);


--
-- Name: idx_name_no_provider_identifier; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX idx_name_no_provider_identifier ON public.users USING btree (name) WHERE (provider_identifier IS NULL);


--
-- Name: idx_name_provider_identifier; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX idx_name_provider_identifier ON public.users USING btree (name, provider_identifier);


--
-- Name: idx_policies_deleted_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_policies_deleted_at ON public.policies USING btree (deleted_at);


--
-- Name: idx_provider_identifier; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX idx_provider_identifier ON public.users USING btree (provider_identifier) WHERE (provider_identifier IS NOT NULL);


--
-- Name: idx_users_deleted_at; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX idx_users_deleted_at ON public.users USING btree (deleted_at);


--
-- Name: nodes fk_nodes_auth_key; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.nodes
    ADD CONSTRAINT fk_nodes_auth_key FOREIGN KEY (auth_key_id) REFERENCES public.pre_auth_keys(id);


--
-- Name: nodes fk_nodes_user; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.nodes
    ADD CONSTRAINT fk_nodes_user FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: pre_auth_keys fk_pre_auth_keys_user; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.pre_auth_keys
    ADD CONSTRAINT fk_pre_auth_keys_user FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE SET NULL;


--
-- PostgreSQL database dump complete
--



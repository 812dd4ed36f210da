BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0015');
CREATE TABLE alerts (
	id INTEGER NOT NULL, 
	"key" TEXT NOT NULL, 
	department TEXT NOT NULL, 
	model TEXT NOT NULL, 
	level TEXT NOT NULL, 
	words TEXT NOT NULL, 
	opened_at BIGINT NOT NULL, 
	closed_at BIGINT, 
	acknowledged_by TEXT NOT NULL, 
	acknowledged_at BIGINT, 
	CONSTRAINT pk_alerts PRIMARY KEY (id), 
	CONSTRAINT uq_alerts_key UNIQUE ("key")
);
CREATE TABLE alerts_sent (
	alert INTEGER NOT NULL, 
	department TEXT NOT NULL, 
	channel TEXT NOT NULL, 
	sent_at BIGINT NOT NULL, 
	CONSTRAINT pk_alerts_sent PRIMARY KEY (alert, department, channel), 
	CONSTRAINT fk_alerts_sent_alert FOREIGN KEY(alert) REFERENCES alerts (id), 
	CONSTRAINT fk_alerts_sent_department FOREIGN KEY(department, channel) REFERENCES channels (department, name) ON DELETE CASCADE
);
CREATE TABLE alias_history (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	alias TEXT NOT NULL, 
	"before" INTEGER, 
	"after" INTEGER, 
	changed_at BIGINT NOT NULL, 
	changed_by TEXT NOT NULL, 
	why TEXT NOT NULL, 
	cause TEXT NOT NULL, 
	CONSTRAINT pk_alias_history PRIMARY KEY (id), 
	CONSTRAINT fk_alias_history_model FOREIGN KEY(model) REFERENCES models (model)
);
INSERT INTO "alias_history" VALUES(1,'ops/twice','champion',NULL,1,1795661237020143,'administrator','the first version that passed its check','check');
INSERT INTO "alias_history" VALUES(2,'ops/twice','stable',NULL,1,1795661237825408,'administrator','known to be well','person');
CREATE TABLE aliases (
	model TEXT NOT NULL, 
	alias TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	CONSTRAINT pk_aliases PRIMARY KEY (model, alias), 
	CONSTRAINT fk_aliases_model FOREIGN KEY(model, version) REFERENCES versions (model, version)
);
INSERT INTO "aliases" VALUES('ops/twice','champion',1);
INSERT INTO "aliases" VALUES('ops/twice','stable',1);
CREATE TABLE attempts (
	"key" TEXT NOT NULL, 
	level FLOAT NOT NULL, 
	at BIGINT NOT NULL, 
	CONSTRAINT pk_attempts PRIMARY KEY ("key")
);
CREATE TABLE audit (
	number BIGINT NOT NULL, 
	at BIGINT NOT NULL, 
	"by" TEXT NOT NULL, 
	action TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	"before" TEXT, 
	"after" TEXT, 
	origin TEXT NOT NULL, 
	request TEXT NOT NULL, 
	via TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	CONSTRAINT pk_audit PRIMARY KEY (number)
);
INSERT INTO "audit" VALUES(1,1795661233144779,'administrator','token.create','yard',NULL,'{"id":1,"name":"first","principal":"administrator","role":"administrator","department":null,"created_at":"2026-11-26T02:47:13.117295Z","created_by":"administrator","expires_at":null,"revoked_at":null,"used_at":null,"rows_per_second":null}','','','','fac6e9df5f53823211537c7c4e55b0a33df3209e4c1287938d80875364b2b4a0');
INSERT INTO "audit" VALUES(2,1795661236181039,'administrator','department.create','ops',NULL,NULL,'127.0.0.1','0c9ba1da6f6b5016','token 1','035c89810665dd3fbac812645a3923dcc9914f6077099f682c27a107ac94a352');
INSERT INTO "audit" VALUES(3,1795661236181039,'administrator','version.publish','ops/twice/1',NULL,'{"digest":"f6984860cdccf5b5f061f828e5c237a708856305186feb4235003f4d39fe9703","size":219,"alias":null}','127.0.0.1','0c9ba1da6f6b5016','token 1','cf4b470670ed85b9139025e451ab424645807eaafa8df407b1658f0a5d27a32e');
INSERT INTO "audit" VALUES(4,1795661237031791,'yard','version.check','ops/twice/1','{"state":"checking"}','{"state":"checked","reason":""}','','','','68dc52c3f3a09eb630b88c678b2e70fb4700da70e86c813b06a2fc61ac5e97a7');
INSERT INTO "audit" VALUES(5,1795661237031791,'administrator','alias.move','ops/twice@champion',NULL,'{"version":1,"why":"the first version that passed its check","cause":"check"}','','','','4bfa38ce8a815a63fbd5d7a29977ae29f9b1c131f58121cfdc2bed4afaf0bc8a');
INSERT INTO "audit" VALUES(6,1795661237089991,'yard','version.form','ops/twice/1','{"form":"native","form_reason":""}','{"form":"native","form_reason":"not a model the converter knows: it is Python code (module:name)"}','','','','d7bc1cf496bb62f8d6496bbe8de985bb55316db4699b338065c0960677ce16cf');
INSERT INTO "audit" VALUES(7,1795661237235528,'administrator','version.publish','ops/twice/2',NULL,'{"digest":"e13765fe2afa247cceaa809968bfd83da33fe612cc7f936caaabc9426adcd6c8","size":219,"alias":null}','127.0.0.1','12e5d1ab5abc5f2c','token 1','ac8b8f968d06365596145bacb027f87bf65e6b0c4d7659896b63614ffcc1d9b2');
INSERT INTO "audit" VALUES(8,1795661237716690,'yard','version.check','ops/twice/2','{"state":"checking"}','{"state":"checked","reason":""}','','','','44dc75dfeead4a2a52cbd391815c0c67b0a92a020cba8160acc09dbc8d9e2872');
INSERT INTO "audit" VALUES(9,1795661237772839,'yard','version.form','ops/twice/2','{"form":"native","form_reason":""}','{"form":"native","form_reason":"not a model the converter knows: it is Python code (module:name)"}','','','','d086cb0f54d4ec48db6161b1ad588676eeb6d3330e3d0a0b5b2e59372cccf164');
INSERT INTO "audit" VALUES(10,1795661237828004,'administrator','alias.move','ops/twice@stable',NULL,'{"version":1,"why":"known to be well","cause":"person"}','127.0.0.1','ba4579d35c676ca6','token 1','e36f50d3a42a9c9bc4763c611e51d814ecb4b439c070fecdcbef4624d605a64d');
INSERT INTO "audit" VALUES(11,1795661237885907,'administrator','card.write','ops/twice/1',NULL,'"# Twice\nDoubles what it is given."','127.0.0.1','45a8a3edfea5e4c1','token 1','bba5416039f4f085f2cda00e965cd2bc375374e5f55d8efdaef83ea101126bca');
INSERT INTO "audit" VALUES(12,1795661237927507,'administrator','policy.set','ops/twice','{"model":"ops/twice","retrain":{},"promote":{},"paused":false,"source":"the default","changed_at":"2026-11-26T02:47:15.487509Z","changed_by":""}','{"model":"ops/twice","retrain":{"max_age":"30d"},"promote":{},"paused":false,"source":"by hand","changed_at":"2026-11-26T02:47:17.924860Z","changed_by":"administrator"}','127.0.0.1','8ebcecf94d9c60b0','token 1','c7666379b572b0ac22953076f8b36e311098403a61f6f86e5e4b9db321c9d667');
INSERT INTO "audit" VALUES(13,1795661237981408,'administrator','user.role','ops',NULL,'{"user":"carl","role":"caller"}','127.0.0.1','3b63a63119cc55ba','token 1','3e07359d68d7252e9f54ae19d90c66fd78c1eca300c0c1b6d711facf6ae7f1c1');
INSERT INTO "audit" VALUES(14,1795661237981408,'administrator','token.create','ops',NULL,'{"id":2,"name":"c","principal":"carl","role":"caller","department":"ops","created_at":"2026-11-26T02:47:17.960396Z","created_by":"administrator","expires_at":null,"revoked_at":null,"used_at":null,"rows_per_second":null}','127.0.0.1','3b63a63119cc55ba','token 1','cada6b7f77a1bfbd46d52a176bb433adf1b20bd07c83b409a6e1a17016bab67c');
INSERT INTO "audit" VALUES(15,1795661238029715,'administrator','user.create','maria',NULL,'{"kind":"person"}','127.0.0.1','ebc0acbf352907ee','token 1','ae2b72bfe82109a536dc5e85cbc367fa38adfdf996db1f541e0e9d83ab6f6643');
INSERT INTO "audit" VALUES(16,1795661238072848,'administrator','user.role','yard','{"role":null}','{"user":"maria","role":"auditor"}','127.0.0.1','ebc0acbf352907ee','token 1','995c83d6f821ad078faaa020c1f8dcdf274e1b7eb9060b032d0f3ad7b25f8055');
INSERT INTO "audit" VALUES(17,1795661238101608,'administrator','user.invite','yard',NULL,'{"user":"maria","expires_at":"2026-12-03T02:47:18.099174Z"}','127.0.0.1','ebc0acbf352907ee','token 1','00cb47494d1047cb9ee74a416f64a80ba0a6a21f16dad6c10119b84ca57ef7d6');
CREATE TABLE audit_head (
	id INTEGER NOT NULL, 
	number BIGINT NOT NULL, 
	hash TEXT NOT NULL, 
	CONSTRAINT pk_audit_head PRIMARY KEY (id)
);
INSERT INTO "audit_head" VALUES(1,17,'00cb47494d1047cb9ee74a416f64a80ba0a6a21f16dad6c10119b84ca57ef7d6');
CREATE TABLE backup_runs (
	id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	ok BOOLEAN NOT NULL, 
	words TEXT NOT NULL, 
	CONSTRAINT pk_backup_runs PRIMARY KEY (id)
);
CREATE TABLE browsers (
	digest TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	CONSTRAINT pk_browsers PRIMARY KEY (digest), 
	CONSTRAINT fk_browsers_principal FOREIGN KEY(principal) REFERENCES principals (name)
);
CREATE TABLE cards (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	text TEXT NOT NULL, 
	changed_at BIGINT NOT NULL, 
	changed_by TEXT NOT NULL, 
	CONSTRAINT pk_cards PRIMARY KEY (id), 
	CONSTRAINT fk_cards_model FOREIGN KEY(model, version) REFERENCES versions (model, version)
);
INSERT INTO "cards" VALUES(1,'ops/twice',1,'# Twice
Doubles what it is given.',1795661237884586,'administrator');
CREATE TABLE channels (
	department TEXT NOT NULL, 
	name TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	target TEXT NOT NULL, 
	sealed BLOB NOT NULL, 
	level TEXT NOT NULL, 
	every INTEGER NOT NULL, 
	quiet TEXT NOT NULL, 
	owner TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	sent_at BIGINT, 
	next_at BIGINT, 
	failures INTEGER NOT NULL, 
	note TEXT NOT NULL, 
	CONSTRAINT pk_channels PRIMARY KEY (department, name), 
	CONSTRAINT fk_channels_department FOREIGN KEY(department) REFERENCES departments (name)
);
CREATE TABLE clearances (
	dataset TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	mark TEXT NOT NULL, 
	until BIGINT, 
	given_at BIGINT NOT NULL, 
	given_by TEXT NOT NULL, 
	CONSTRAINT pk_clearances PRIMARY KEY (dataset, principal, mark), 
	CONSTRAINT fk_clearances_dataset FOREIGN KEY(dataset) REFERENCES datasets (dataset)
);
CREATE TABLE data_connections (
	department TEXT NOT NULL, 
	name TEXT NOT NULL, 
	address TEXT NOT NULL, 
	sealed BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	CONSTRAINT pk_data_connections PRIMARY KEY (department, name), 
	CONSTRAINT fk_data_connections_department FOREIGN KEY(department) REFERENCES departments (name)
);
CREATE TABLE dataset_versions (
	dataset TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	blob TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	rows BIGINT NOT NULL, 
	width INTEGER NOT NULL, 
	columns TEXT NOT NULL, 
	origin TEXT NOT NULL, 
	why TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	CONSTRAINT pk_dataset_versions PRIMARY KEY (dataset, version), 
	CONSTRAINT fk_dataset_versions_dataset FOREIGN KEY(dataset) REFERENCES datasets (dataset), 
	CONSTRAINT uq_dataset_versions_dataset_digest UNIQUE (dataset, digest)
);
CREATE TABLE datasets (
	dataset TEXT NOT NULL, 
	department TEXT NOT NULL, 
	latest INTEGER NOT NULL, 
	marks TEXT NOT NULL, 
	source TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	CONSTRAINT pk_datasets PRIMARY KEY (dataset), 
	CONSTRAINT fk_datasets_department FOREIGN KEY(department) REFERENCES departments (name)
);
CREATE TABLE departments (
	name TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, trusted BOOLEAN DEFAULT 1 NOT NULL, 
	CONSTRAINT pk_departments PRIMARY KEY (name)
);
INSERT INTO "departments" VALUES('ops',1795661235487509,'administrator',1);
CREATE TABLE duties (
	kind TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	due_at BIGINT, 
	leased_by TEXT NOT NULL, 
	leased_until BIGINT, 
	fence BIGINT NOT NULL, 
	failures INTEGER NOT NULL, 
	note TEXT NOT NULL, 
	CONSTRAINT pk_duties PRIMARY KEY (kind, subject)
);
INSERT INTO "duties" VALUES('alert','yard',1795661238804567,'',NULL,1,0,'');
INSERT INTO "duties" VALUES('trigger','ops/twice',1795661237924860,'',NULL,0,0,'');
CREATE TABLE findings (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	subject TEXT NOT NULL, 
	active TEXT, 
	level TEXT NOT NULL, 
	noticed_at BIGINT NOT NULL, 
	seen_at BIGINT NOT NULL, 
	closed_at BIGINT, 
	acknowledged_by TEXT NOT NULL, 
	finding TEXT NOT NULL, 
	CONSTRAINT pk_findings PRIMARY KEY (id), 
	CONSTRAINT uq_findings_active UNIQUE (active)
);
CREATE TABLE identities (
	issuer TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	CONSTRAINT pk_identities PRIMARY KEY (issuer, subject), 
	CONSTRAINT fk_identities_principal FOREIGN KEY(principal) REFERENCES principals (name)
);
CREATE TABLE job_logs (
	job INTEGER NOT NULL, 
	start BIGINT NOT NULL, 
	text TEXT NOT NULL, 
	CONSTRAINT pk_job_logs PRIMARY KEY (job, start), 
	CONSTRAINT fk_job_logs_job FOREIGN KEY(job) REFERENCES jobs (id)
);
CREATE TABLE job_metrics (
	job INTEGER NOT NULL, 
	line INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	value FLOAT NOT NULL, 
	CONSTRAINT pk_job_metrics PRIMARY KEY (job, line, name), 
	CONSTRAINT fk_job_metrics_job FOREIGN KEY(job) REFERENCES jobs (id)
);
CREATE TABLE jobs (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	department TEXT NOT NULL, 
	language TEXT NOT NULL, 
	project TEXT NOT NULL, 
	state TEXT NOT NULL, 
	"trigger" TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	"by" TEXT NOT NULL, 
	code TEXT NOT NULL, 
	target TEXT NOT NULL, 
	parameters TEXT NOT NULL, 
	sets_policy BOOLEAN NOT NULL, 
	data TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	progress TEXT NOT NULL, 
	words TEXT NOT NULL, 
	exit_code INTEGER, 
	version INTEGER, 
	cancelled_by TEXT NOT NULL, 
	usage TEXT NOT NULL, 
	metrics TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	started_at BIGINT, 
	ended_at BIGINT, 
	CONSTRAINT pk_jobs PRIMARY KEY (id), 
	CONSTRAINT fk_jobs_department FOREIGN KEY(department) REFERENCES departments (name), 
	CONSTRAINT fk_jobs_project FOREIGN KEY(project) REFERENCES projects (digest)
);
CREATE TABLE keeping (
	model TEXT NOT NULL, 
	rule TEXT NOT NULL, 
	salt BLOB NOT NULL, 
	changed_at BIGINT NOT NULL, 
	changed_by TEXT NOT NULL, 
	CONSTRAINT pk_keeping PRIMARY KEY (model)
);
CREATE TABLE labelled (
	model TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	day BIGINT NOT NULL, 
	rows BIGINT NOT NULL, 
	digest TEXT NOT NULL, 
	changed_at BIGINT NOT NULL, 
	CONSTRAINT pk_labelled PRIMARY KEY (model, version, day)
);
CREATE TABLE labels (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	rows BIGINT NOT NULL, 
	CONSTRAINT pk_labels PRIMARY KEY (id)
);
CREATE TABLE links (
	digest TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	used_at BIGINT, 
	CONSTRAINT pk_links PRIMARY KEY (digest), 
	CONSTRAINT fk_links_principal FOREIGN KEY(principal) REFERENCES principals (name)
);
INSERT INTO "links" VALUES('fda121234d5261f465e74d119033ceb098097cfa71a5e2c65255cbd396899aba','maria',1795661238099174,'administrator',1796266038099174,NULL);
CREATE TABLE memberships (
	principal TEXT NOT NULL, 
	department TEXT NOT NULL, 
	source TEXT NOT NULL, 
	role TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	CONSTRAINT pk_memberships PRIMARY KEY (principal, department, source), 
	CONSTRAINT fk_memberships_principal FOREIGN KEY(principal) REFERENCES principals (name)
);
INSERT INTO "memberships" VALUES('administrator','','hand','administrator',1795661233101402,'administrator');
INSERT INTO "memberships" VALUES('carl','ops','hand','caller',1795661237960396,'administrator');
INSERT INTO "memberships" VALUES('maria','','hand','auditor',1795661238061050,'administrator');
CREATE TABLE models (
	model TEXT NOT NULL, 
	department TEXT NOT NULL, 
	latest INTEGER NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	CONSTRAINT pk_models PRIMARY KEY (model), 
	CONSTRAINT fk_models_department FOREIGN KEY(department) REFERENCES departments (name)
);
INSERT INTO "models" VALUES('ops/twice','ops',2,1795661235487509,'administrator');
CREATE TABLE outlooks (
	model TEXT NOT NULL, 
	words TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	CONSTRAINT pk_outlooks PRIMARY KEY (model), 
	CONSTRAINT fk_outlooks_model FOREIGN KEY(model) REFERENCES models (model)
);
CREATE TABLE passwords (
	principal TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	changed_at BIGINT NOT NULL, 
	CONSTRAINT pk_passwords PRIMARY KEY (principal), 
	CONSTRAINT fk_passwords_principal FOREIGN KEY(principal) REFERENCES principals (name)
);
CREATE TABLE performance (
	model TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	day BIGINT NOT NULL, 
	metric TEXT NOT NULL, 
	slice TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	value FLOAT NOT NULL, 
	low FLOAT NOT NULL, 
	high FLOAT NOT NULL, 
	labels BIGINT NOT NULL, 
	CONSTRAINT pk_performance PRIMARY KEY (model, version, day, metric, slice, kind)
);
CREATE TABLE policies (
	model TEXT NOT NULL, 
	retrain TEXT NOT NULL, 
	promote TEXT NOT NULL, 
	paused BOOLEAN NOT NULL, 
	source TEXT NOT NULL, 
	changed_at BIGINT NOT NULL, 
	changed_by TEXT NOT NULL, 
	CONSTRAINT pk_policies PRIMARY KEY (model), 
	CONSTRAINT fk_policies_model FOREIGN KEY(model) REFERENCES models (model)
);
INSERT INTO "policies" VALUES('ops/twice','{"max_age":"30d"}','{}',0,'by hand',1795661237924860,'administrator');
CREATE TABLE principals (
	name TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, kind TEXT DEFAULT 'service' NOT NULL, disabled_at BIGINT, 
	CONSTRAINT pk_principals PRIMARY KEY (name)
);
INSERT INTO "principals" VALUES('administrator',1795661233101402,'administrator','person',NULL);
INSERT INTO "principals" VALUES('carl',1795661237960396,'administrator','service',NULL);
INSERT INTO "principals" VALUES('maria',1795661238028007,'administrator','person',NULL);
CREATE TABLE profiles (
	model TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	source TEXT NOT NULL, 
	data BLOB NOT NULL, 
	made_at BIGINT NOT NULL, 
	CONSTRAINT pk_profiles PRIMARY KEY (model, version)
);
CREATE TABLE project_files (
	project TEXT NOT NULL, 
	path TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	digest TEXT NOT NULL, 
	CONSTRAINT pk_project_files PRIMARY KEY (project, path), 
	CONSTRAINT fk_project_files_project FOREIGN KEY(project) REFERENCES projects (digest)
);
CREATE TABLE projects (
	digest TEXT NOT NULL, 
	model TEXT NOT NULL, 
	description TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	CONSTRAINT pk_projects PRIMARY KEY (digest)
);
CREATE TABLE refit_requests (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	cause TEXT NOT NULL, 
	"by" TEXT NOT NULL, 
	why TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	job INTEGER, 
	CONSTRAINT pk_refit_requests PRIMARY KEY (id), 
	CONSTRAINT fk_refit_requests_model FOREIGN KEY(model) REFERENCES models (model), 
	CONSTRAINT fk_refit_requests_job FOREIGN KEY(job) REFERENCES jobs (id)
);
CREATE TABLE rollout_steps (
	id INTEGER NOT NULL, 
	rollout INTEGER NOT NULL, 
	at BIGINT NOT NULL, 
	state TEXT NOT NULL, 
	stage INTEGER NOT NULL, 
	"by" TEXT NOT NULL, 
	words TEXT NOT NULL, 
	CONSTRAINT pk_rollout_steps PRIMARY KEY (id), 
	CONSTRAINT fk_rollout_steps_rollout FOREIGN KEY(rollout) REFERENCES rollouts (id)
);
CREATE TABLE rollouts (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	active TEXT, 
	candidate INTEGER NOT NULL, 
	champion INTEGER NOT NULL, 
	state TEXT NOT NULL, 
	rules TEXT NOT NULL, 
	stage INTEGER NOT NULL, 
	stage_began_at BIGINT NOT NULL, 
	stage_asked INTEGER NOT NULL, 
	approved_by TEXT NOT NULL, 
	words TEXT NOT NULL, 
	why TEXT NOT NULL, 
	began_at BIGINT NOT NULL, 
	began_by TEXT NOT NULL, 
	ended_at BIGINT, 
	evidence TEXT NOT NULL, 
	CONSTRAINT pk_rollouts PRIMARY KEY (id), 
	CONSTRAINT fk_rollouts_model FOREIGN KEY(model) REFERENCES models (model), 
	CONSTRAINT fk_rollouts_model_candidate FOREIGN KEY(model, candidate) REFERENCES versions (model, version), 
	CONSTRAINT uq_rollouts_active UNIQUE (active)
);
CREATE TABLE segments (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	day BIGINT NOT NULL, 
	node TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	rows BIGINT NOT NULL, 
	first_at BIGINT NOT NULL, 
	last_at BIGINT NOT NULL, 
	shipped_at BIGINT NOT NULL, 
	requests TEXT NOT NULL, 
	is_seen BOOLEAN NOT NULL, 
	gone_at BIGINT, 
	CONSTRAINT pk_segments PRIMARY KEY (id)
);
CREATE TABLE sessions (
	digest TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	token INTEGER, 
	how TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	CONSTRAINT pk_sessions PRIMARY KEY (digest), 
	CONSTRAINT fk_sessions_principal FOREIGN KEY(principal) REFERENCES principals (name), 
	CONSTRAINT fk_sessions_token FOREIGN KEY(token) REFERENCES tokens (id)
);
CREATE TABLE shares (
	id INTEGER NOT NULL, 
	kind TEXT NOT NULL, 
	name TEXT NOT NULL, 
	department TEXT NOT NULL, 
	need TEXT NOT NULL, 
	to_department TEXT, 
	to_principal TEXT, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	expires_at BIGINT, 
	revoked_at BIGINT, 
	CONSTRAINT pk_shares PRIMARY KEY (id), 
	CONSTRAINT fk_shares_department FOREIGN KEY(department) REFERENCES departments (name), 
	CONSTRAINT fk_shares_to_department FOREIGN KEY(to_department) REFERENCES departments (name), 
	CONSTRAINT fk_shares_to_principal FOREIGN KEY(to_principal) REFERENCES principals (name)
);
CREATE TABLE spool_offsets (
	node TEXT NOT NULL, 
	file TEXT NOT NULL, 
	"end" BIGINT NOT NULL, 
	shipped_at BIGINT NOT NULL, 
	CONSTRAINT pk_spool_offsets PRIMARY KEY (node, file)
);
CREATE TABLE state (
	"key" TEXT NOT NULL, 
	value BIGINT NOT NULL, 
	CONSTRAINT pk_state PRIMARY KEY ("key")
);
INSERT INTO "state" VALUES('generation',9);
INSERT INTO "state" VALUES('people',0);
CREATE TABLE summaries (
	model TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	grain TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	rows BIGINT NOT NULL, 
	data BLOB NOT NULL, 
	CONSTRAINT pk_summaries PRIMARY KEY (model, version, grain, at)
);
CREATE TABLE tokens (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	role TEXT NOT NULL, 
	department TEXT, 
	digest TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	expires_at BIGINT, 
	revoked_at BIGINT, used_at BIGINT, rows_per_second FLOAT, 
	CONSTRAINT pk_tokens PRIMARY KEY (id), 
	CONSTRAINT fk_tokens_principal FOREIGN KEY(principal) REFERENCES principals (name), 
	CONSTRAINT fk_tokens_department FOREIGN KEY(department) REFERENCES departments (name), 
	CONSTRAINT uq_tokens_digest UNIQUE (digest)
);
INSERT INTO "tokens" VALUES(1,'first','administrator','administrator',NULL,'e5fac3cce117bfa60b40cb4d117a758eb4b2570a96e88414c4537e1290d9f1b5',1795661233117295,'administrator',NULL,NULL,NULL,NULL);
INSERT INTO "tokens" VALUES(2,'c','carl','caller','ops','e7aaa3c53f51d2f42e0f99adb75857cf8bab7f1dd1189a73e623407539ce6c58',1795661237960396,'administrator',NULL,NULL,NULL,NULL);
CREATE TABLE verdicts (
	id INTEGER NOT NULL, 
	model TEXT NOT NULL, 
	candidate INTEGER NOT NULL, 
	champion INTEGER, 
	state TEXT NOT NULL, 
	words TEXT NOT NULL, 
	held_out TEXT NOT NULL, 
	asked_at BIGINT NOT NULL, 
	asked_by TEXT NOT NULL, 
	why TEXT NOT NULL, 
	faults TEXT NOT NULL, 
	numbers TEXT, 
	judged_at BIGINT, 
	rolls_out BOOLEAN NOT NULL, 
	rollout INTEGER, 
	CONSTRAINT pk_verdicts PRIMARY KEY (id), 
	CONSTRAINT fk_verdicts_model FOREIGN KEY(model) REFERENCES models (model), 
	CONSTRAINT fk_verdicts_model_candidate FOREIGN KEY(model, candidate) REFERENCES versions (model, version), 
	CONSTRAINT fk_verdicts_rollout FOREIGN KEY(rollout) REFERENCES rollouts (id)
);
CREATE TABLE version_datasets (
	model TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	dataset TEXT NOT NULL, 
	dataset_version INTEGER NOT NULL, 
	CONSTRAINT pk_version_datasets PRIMARY KEY (model, version, dataset), 
	CONSTRAINT fk_version_datasets_model FOREIGN KEY(model, version) REFERENCES versions (model, version)
);
CREATE TABLE version_files (
	model TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	digest TEXT NOT NULL, 
	CONSTRAINT pk_version_files PRIMARY KEY (model, version, path), 
	CONSTRAINT fk_version_files_model FOREIGN KEY(model, version) REFERENCES versions (model, version)
);
INSERT INTO "version_files" VALUES('ops/twice',1,'example.csv',10,'cb6d3ff87ccdb8bf1bcd2d3006116bdc92f4f0ea38037649f1418e87f4954721');
INSERT INTO "version_files" VALUES('ops/twice',1,'mine.py',50,'8ca6bc8df973f3a03998b60f62a4ff08c797bddb012e79a98b44d2ed9626ced0');
INSERT INTO "version_files" VALUES('ops/twice',1,'yardbundle.toml',159,'a0d308ab8155bf524b854136abe857cea63542fc6f9645d1e8a81a91c3bf2d7c');
INSERT INTO "version_files" VALUES('ops/twice',2,'example.csv',10,'cb6d3ff87ccdb8bf1bcd2d3006116bdc92f4f0ea38037649f1418e87f4954721');
INSERT INTO "version_files" VALUES('ops/twice',2,'mine.py',50,'f4fd137021554f24c10b36d29802adb0fc68c0b790d73ae123707b52f4217548');
INSERT INTO "version_files" VALUES('ops/twice',2,'yardbundle.toml',159,'a0d308ab8155bf524b854136abe857cea63542fc6f9645d1e8a81a91c3bf2d7c');
CREATE TABLE version_forms (
	model TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	path TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	digest TEXT NOT NULL, 
	CONSTRAINT pk_version_forms PRIMARY KEY (model, version, path), 
	CONSTRAINT fk_version_forms_model FOREIGN KEY(model, version) REFERENCES versions (model, version)
);
CREATE TABLE version_signatures (
	model TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	what TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	signature TEXT NOT NULL, 
	at BIGINT NOT NULL, 
	CONSTRAINT pk_version_signatures PRIMARY KEY (model, version, what), 
	CONSTRAINT fk_version_signatures_model FOREIGN KEY(model, version) REFERENCES versions (model, version)
);
INSERT INTO "version_signatures" VALUES('ops/twice',1,'bundle','f6984860cdccf5b5f061f828e5c237a708856305186feb4235003f4d39fe9703','2d3e7edace1ae88f','3bc8697643b45d32d312b8c7fdbb5f9d621b6f54e9d775df0a27fec0c832d0370c764651294ea7c3690fd876b5c4a95171522ea6ef900a147fbde14c5e8efd05',1795661236162607);
INSERT INTO "version_signatures" VALUES('ops/twice',2,'bundle','e13765fe2afa247cceaa809968bfd83da33fe612cc7f936caaabc9426adcd6c8','2d3e7edace1ae88f','95d807642f944f93ba72d2666d8e6cbcc6e0b45969202d2905c850a463b3c62c5e1572e338b92e502b6f8d917b795c0cf129a6966cc5c8bebbe2e3d87d41db02',1795661237230442);
CREATE TABLE versions (
	model TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	digest TEXT NOT NULL, 
	bundle TEXT NOT NULL, 
	state TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	progress TEXT NOT NULL, 
	log TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	form TEXT NOT NULL, 
	form_reason TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by TEXT NOT NULL, 
	wanted_alias TEXT, 
	wanted_why TEXT NOT NULL, 
	CONSTRAINT pk_versions PRIMARY KEY (model, version), 
	CONSTRAINT fk_versions_model FOREIGN KEY(model) REFERENCES models (model), 
	CONSTRAINT uq_versions_model_digest UNIQUE (model, digest)
);
INSERT INTO "versions" VALUES('ops/twice',1,'f6984860cdccf5b5f061f828e5c237a708856305186feb4235003f4d39fe9703','{"format":1,"language":"python","entry":"mine:predict","signature":{"inputs":[{"name":"x","type":"float64"}],"outputs":[{"name":"prediction","type":"float64"}]},"language_version":"3.11.7","options":{"input":"columns"},"packages":{},"metrics":{},"lineage":{},"description":""}','checked','','','',219,'native','not a model the converter knows: it is Python code (module:name)',1795661235487509,'administrator',NULL,'');
INSERT INTO "versions" VALUES('ops/twice',2,'e13765fe2afa247cceaa809968bfd83da33fe612cc7f936caaabc9426adcd6c8','{"format":1,"language":"python","entry":"mine:predict","signature":{"inputs":[{"name":"x","type":"float64"}],"outputs":[{"name":"prediction","type":"float64"}]},"language_version":"3.11.7","options":{"input":"columns"},"packages":{},"metrics":{},"lineage":{},"description":""}','checked','','','',219,'native','not a model the converter knows: it is Python code (module:name)',1795661237202228,'administrator',NULL,'');
CREATE TABLE waiting (
	model TEXT NOT NULL, 
	digest TEXT NOT NULL, 
	rows BIGINT NOT NULL, 
	first_at BIGINT NOT NULL, 
	last_at BIGINT NOT NULL, 
	CONSTRAINT pk_waiting PRIMARY KEY (model)
);
CREATE INDEX ix_models_department ON models (department);
CREATE INDEX ix_versions_state ON versions (state);
CREATE INDEX ix_version_files_digest ON version_files (digest);
CREATE INDEX ix_alias_history_model_alias_id ON alias_history (model, alias, id);
CREATE INDEX ix_version_forms_digest ON version_forms (digest);
CREATE INDEX ix_duties_due_at ON duties (due_at);
CREATE INDEX ix_duties_leased_until ON duties (leased_until);
CREATE INDEX ix_rollouts_model ON rollouts (model);
CREATE INDEX ix_rollout_steps_rollout ON rollout_steps (rollout);
CREATE INDEX ix_cards_model_version ON cards (model, version);
CREATE INDEX ix_shares_department ON shares (department);
CREATE INDEX ix_sessions_principal ON sessions (principal);
CREATE INDEX ix_audit_at ON audit (at);
CREATE INDEX ix_audit_by ON audit ("by");
CREATE INDEX ix_audit_action ON audit (action);
CREATE INDEX ix_audit_subject ON audit (subject);
CREATE TRIGGER audit_no_UPDATE BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END;
CREATE TRIGGER audit_no_DELETE BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END;
CREATE INDEX ix_datasets_department ON datasets (department);
CREATE INDEX ix_dataset_versions_blob ON dataset_versions (blob);
CREATE INDEX ix_version_datasets_dataset_dataset_version ON version_datasets (dataset, dataset_version);
CREATE INDEX ix_project_files_digest ON project_files (digest);
CREATE INDEX ix_jobs_model ON jobs (model);
CREATE INDEX ix_jobs_department_state ON jobs (department, state);
CREATE INDEX ix_segments_digest ON segments (digest);
CREATE INDEX ix_segments_model_kind_day ON segments (model, kind, day);
CREATE INDEX ix_labelled_digest ON labelled (digest);
CREATE INDEX ix_labels_model_at ON labels (model, at);
CREATE INDEX ix_waiting_digest ON waiting (digest);
CREATE INDEX ix_findings_model_noticed_at ON findings (model, noticed_at);
CREATE INDEX ix_alerts_department_opened_at ON alerts (department, opened_at);
CREATE INDEX ix_verdicts_model ON verdicts (model);
CREATE INDEX ix_refit_requests_model ON refit_requests (model);
COMMIT;

-- A state file of gaia_local at cae8a93, which had brought 0005_flushed.sql up to date, as SQL.
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
    "id" integer primary key, "migration_set" text, "name" text, "applied_at" text
);
INSERT INTO "_sqlite_migrations" VALUES(1,'gaia_local','0001_first','2026-11-27 02:26:15+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'gaia_local','0002_buckets','2026-11-27 02:26:15+00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'gaia_local','0003_listings','2026-11-27 02:26:15+00:00');
INSERT INTO "_sqlite_migrations" VALUES(4,'gaia_local','0004_made','2026-11-27 02:26:15+00:00');
INSERT INTO "_sqlite_migrations" VALUES(5,'gaia_local','0005_flushed','2026-11-27 02:26:15+00:00');
INSERT INTO "_sqlite_migrations" VALUES(6,'gaia_local','0006_unfit','2026-11-28 00:05:32.940422+00:00');
CREATE TABLE buckets (
    workflow text not null, bucket text not null, directory text, primary key (workflow, bucket)
) without rowid;
INSERT INTO "buckets" VALUES('w','d',NULL);
CREATE TABLE commands (
    workflow text not null, name text not null, definition text not null,
    primary key (workflow, name)
);
INSERT INTO "commands" VALUES('w','copy','{"name": "copy", "image": "busybox", "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": {"a": "/in/a"}, "outputs": {"x": "/out/x"}}');
INSERT INTO "commands" VALUES('w','break','{"name": "break", "image": "busybox", "command": ["sh", "-c", "echo no >&2; exit 3"], "inputs": {"a": "/in/a"}, "outputs": {"x": "/out/x"}}');
CREATE TABLE data (
    workflow text not null, key text not null, state text not null, quick text, digest text,
    task text, why text, epoch integer not null default 0, primary key (workflow, key)
) without rowid;
INSERT INTO "data" VALUES('w','d:first','complete','2:1795746376005509436:1795746376006203286:2261023','6cde7722c6383f624cb5b68aaefcd033','029ef6c86f9a4f6ea45b56bace637561',NULL,2);
INSERT INTO "data" VALUES('w','d:given','complete','2:1795746376002702946:1795746376002702946:2261299','6cde7722c6383f624cb5b68aaefcd033',NULL,NULL,3);
INSERT INTO "data" VALUES('w','d:second','complete','2:1795746376031762267:1795746376032496572:2261284','6cde7722c6383f624cb5b68aaefcd033','957bc188864f4bc49a09b60ed87896b0',NULL,3);
INSERT INTO "data" VALUES('w','d:third','absent',NULL,NULL,NULL,'retry after error',3);
CREATE TABLE events (
    id integer primary key, workflow text not null, time real not null, event text not null,
    facts text not null
);
INSERT INTO "events" VALUES(14,'w',1.79574637600348067283e+09,'step-start','{"id": "029ef6c86f9a4f6ea45b56bace637561", "task": "first", "reason": "new", "inputs": {"d:given": "6cde7722c6383f624cb5b68aaefcd033"}, "worker": 2}');
INSERT INTO "events" VALUES(15,'w',1.79574637600371098513e+09,'execution-start','{"id": "029ef6c86f9a4f6ea45b56bace637561", "task": "first"}');
INSERT INTO "events" VALUES(16,'w',1.795746376005941391e+09,'execution-complete','{"id": "029ef6c86f9a4f6ea45b56bace637561", "task": "first"}');
INSERT INTO "events" VALUES(17,'w',1.79574637600595092773e+09,'container-exit','{"id": "029ef6c86f9a4f6ea45b56bace637561", "task": "first", "code": 0}');
INSERT INTO "events" VALUES(18,'w',1.79574637600629496581e+09,'data-complete','{"id": "029ef6c86f9a4f6ea45b56bace637561", "task": "first", "key": "d:first", "path": "/data/root/storage/w/d/first"}');
INSERT INTO "events" VALUES(19,'w',1.7957463760062994957e+09,'step-complete','{"id": "029ef6c86f9a4f6ea45b56bace637561", "task": "first", "reason": "new", "image_id": null, "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": {"d:given": "6cde7722c6383f624cb5b68aaefcd033"}, "outputs": {"d:first": "6cde7722c6383f624cb5b68aaefcd033"}, "elapsed": 0.0027747154235839844}');
INSERT INTO "events" VALUES(20,'w',1.79574637600701761245e+09,'step-start','{"id": "c4015ee2119c4f508a360d343e6f9185", "task": "second", "reason": "new", "inputs": {"d:first": "6cde7722c6383f624cb5b68aaefcd033"}, "worker": 2}');
INSERT INTO "events" VALUES(21,'w',1.79574637600794529907e+09,'execution-start','{"id": "c4015ee2119c4f508a360d343e6f9185", "task": "second"}');
INSERT INTO "events" VALUES(22,'w',1.79574637601555132859e+09,'execution-complete','{"id": "c4015ee2119c4f508a360d343e6f9185", "task": "second"}');
INSERT INTO "events" VALUES(23,'w',1.79574637601556086536e+09,'container-exit','{"id": "c4015ee2119c4f508a360d343e6f9185", "task": "second", "code": 0}');
INSERT INTO "events" VALUES(24,'w',1.7957463760158052444e+09,'data-complete','{"id": "c4015ee2119c4f508a360d343e6f9185", "task": "second", "key": "d:second", "path": "/data/root/storage/w/d/second"}');
INSERT INTO "events" VALUES(25,'w',1.79574637601580977446e+09,'step-complete','{"id": "c4015ee2119c4f508a360d343e6f9185", "task": "second", "reason": "new", "image_id": null, "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": {"d:first": "6cde7722c6383f624cb5b68aaefcd033"}, "outputs": {"d:second": "6cde7722c6383f624cb5b68aaefcd033"}, "elapsed": 0.00876307487487793}');
INSERT INTO "events" VALUES(26,'w',1.79574637601922893525e+09,'step-start','{"id": "71042cfd6d5745e08b8472776668e0c6", "task": "third", "reason": "new", "inputs": {"d:second": "6cde7722c6383f624cb5b68aaefcd033"}, "worker": 1}');
INSERT INTO "events" VALUES(27,'w',1.79574637601965856554e+09,'execution-start','{"id": "71042cfd6d5745e08b8472776668e0c6", "task": "third"}');
INSERT INTO "events" VALUES(28,'w',1.7957463760207192897e+09,'execution-complete','{"id": "71042cfd6d5745e08b8472776668e0c6", "task": "third"}');
INSERT INTO "events" VALUES(29,'w',1.79574637602072787281e+09,'container-exit','{"id": "71042cfd6d5745e08b8472776668e0c6", "task": "third", "code": 3}');
INSERT INTO "events" VALUES(30,'w',1.79574637602097439761e+09,'step-error','{"id": "71042cfd6d5745e08b8472776668e0c6", "task": "third", "log": "no", "code": 3, "message": "exit code 3"}');
INSERT INTO "events" VALUES(31,'w',1.79574637602868652347e+09,'step-start','{"id": "957bc188864f4bc49a09b60ed87896b0", "task": "second", "reason": "expired", "inputs": {"d:first": "6cde7722c6383f624cb5b68aaefcd033"}, "worker": 2}');
INSERT INTO "events" VALUES(32,'w',1.79574637603221893308e+09,'execution-start','{"id": "957bc188864f4bc49a09b60ed87896b0", "task": "second"}');
INSERT INTO "events" VALUES(33,'w',1.7957463760322823524e+09,'execution-complete','{"id": "957bc188864f4bc49a09b60ed87896b0", "task": "second"}');
INSERT INTO "events" VALUES(34,'w',1.79574637603228759764e+09,'container-exit','{"id": "957bc188864f4bc49a09b60ed87896b0", "task": "second", "code": 0}');
INSERT INTO "events" VALUES(35,'w',1.7957463760332372188e+09,'data-complete','{"id": "957bc188864f4bc49a09b60ed87896b0", "task": "second", "key": "d:second", "path": "/data/root/storage/w/d/second"}');
INSERT INTO "events" VALUES(36,'w',1.79574637603324222564e+09,'step-complete','{"id": "957bc188864f4bc49a09b60ed87896b0", "task": "second", "reason": "expired", "image_id": null, "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": {"d:first": "6cde7722c6383f624cb5b68aaefcd033"}, "outputs": {"d:second": "6cde7722c6383f624cb5b68aaefcd033"}, "elapsed": 0.004527568817138672}');
INSERT INTO "events" VALUES(37,'w',1.79574637603391885757e+09,'step-start','{"id": "1ea68dc32f974ae88ea6ace5f55c1f80", "task": "third", "reason": "upstream second ran again", "inputs": {"d:second": "6cde7722c6383f624cb5b68aaefcd033"}, "worker": 2}');
INSERT INTO "events" VALUES(38,'w',1.79574637603494739529e+09,'execution-start','{"id": "1ea68dc32f974ae88ea6ace5f55c1f80", "task": "third"}');
INSERT INTO "events" VALUES(39,'w',1.79574637603615355494e+09,'execution-complete','{"id": "1ea68dc32f974ae88ea6ace5f55c1f80", "task": "third"}');
INSERT INTO "events" VALUES(40,'w',1.79574637603616189956e+09,'container-exit','{"id": "1ea68dc32f974ae88ea6ace5f55c1f80", "task": "third", "code": 3}');
INSERT INTO "events" VALUES(41,'w',1.79574637603661131863e+09,'step-error','{"id": "1ea68dc32f974ae88ea6ace5f55c1f80", "task": "third", "log": "no", "code": 3, "message": "exit code 3"}');
CREATE TABLE flushed (epoch integer not null, boot text not null);
INSERT INTO "flushed" VALUES(4,'');
CREATE TABLE listings (digest text primary key, entries blob not null) without rowid
;
CREATE TABLE made (
    place text primary key, state text not null, quick text, digest text, task text, why text
) without rowid;
INSERT INTO "made" VALUES('gone/d/first','complete','2:1795746375983324383:1795746375984688302:2261021','6cde7722c6383f624cb5b68aaefcd033','22c335f2abf5496d98e2e27c1033630a',NULL);
INSERT INTO "made" VALUES('gone/d/second','complete','2:1795746375988651508:1795746375990126278:2261298','6cde7722c6383f624cb5b68aaefcd033','a0cd71837e0c4eaead4c25f4a8371a3a',NULL);
CREATE TABLE made_tasks (
    id text primary key, workflow text not null, step text not null, state text not null,
    reason text not null, definition text not null, exit_code integer, message text, image_id text,
    inputs text, superseded integer not null, created real not null, started real, ended real
);
INSERT INTO "made_tasks" VALUES('22c335f2abf5496d98e2e27c1033630a','gone','first','complete','new','{"image": "busybox", "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": [["d:given", "/in/a"]], "outputs": [["d:first", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": ["d:given"]}',0,NULL,NULL,'{"d:given": "6cde7722c6383f624cb5b68aaefcd033"}',0,1.79574637594293498987e+09,1.79574637595599818232e+09,1.79574637598472976684e+09);
INSERT INTO "made_tasks" VALUES('a0cd71837e0c4eaead4c25f4a8371a3a','gone','second','complete','new','{"image": "busybox", "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": [["d:first", "/in/a"]], "outputs": [["d:second", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": []}',0,NULL,NULL,'{"d:first": "6cde7722c6383f624cb5b68aaefcd033"}',0,1.79574637598492574692e+09,1.79574637598625612257e+09,1.7957463759901492596e+09);
CREATE TABLE steps (
    workflow text not null, name text not null, definition text not null,
    primary key (workflow, name)
);
INSERT INTO "steps" VALUES('w','first','{"name": "first", "command": "copy", "inputs": {"a": "d:given"}, "outputs": {"x": "d:first"}}');
INSERT INTO "steps" VALUES('w','second','{"name": "second", "command": "copy", "inputs": {"a": "d:first"}, "outputs": {"x": "d:second"}}');
INSERT INTO "steps" VALUES('w','third','{"name": "third", "command": "break", "inputs": {"a": "d:second"}, "outputs": {"x": "d:third"}}');
CREATE TABLE tasks (
    id text primary key, workflow text not null, step text not null, state text not null,
    reason text not null, definition text not null, exit_code integer, message text, image_id text,
    inputs text, superseded integer not null, created real not null, started real, ended real
);
INSERT INTO "tasks" VALUES('029ef6c86f9a4f6ea45b56bace637561','w','first','complete','new','{"image": "busybox", "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": [["d:given", "/in/a"]], "outputs": [["d:first", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": ["d:given"]}',0,NULL,NULL,'{"d:given": "6cde7722c6383f624cb5b68aaefcd033"}',0,1.79574637600292658806e+09,1.79574637600348067283e+09,1.79574637600625538827e+09);
INSERT INTO "tasks" VALUES('c4015ee2119c4f508a360d343e6f9185','w','second','complete','new','{"image": "busybox", "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": [["d:first", "/in/a"]], "outputs": [["d:second", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": []}',0,NULL,NULL,'{"d:first": "6cde7722c6383f624cb5b68aaefcd033"}',1,1.79574637600636196135e+09,1.79574637600701761245e+09,1.79574637601578068735e+09);
INSERT INTO "tasks" VALUES('71042cfd6d5745e08b8472776668e0c6','w','third','error','new','{"image": "busybox", "command": ["sh", "-c", "echo no >&2; exit 3"], "inputs": [["d:second", "/in/a"]], "outputs": [["d:third", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": []}',3,'exit code 3',NULL,'{"d:second": "6cde7722c6383f624cb5b68aaefcd033"}',1,1.79574637601587390901e+09,1.79574637601922893525e+09,1.79574637602095532424e+09);
INSERT INTO "tasks" VALUES('957bc188864f4bc49a09b60ed87896b0','w','second','complete','expired','{"image": "busybox", "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": [["d:first", "/in/a"]], "outputs": [["d:second", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": []}',0,NULL,NULL,'{"d:first": "6cde7722c6383f624cb5b68aaefcd033"}',0,1.79574637602735161776e+09,1.79574637602868652347e+09,1.7957463760332140922e+09);
INSERT INTO "tasks" VALUES('1ea68dc32f974ae88ea6ace5f55c1f80','w','third','error','upstream second ran again','{"image": "busybox", "command": ["sh", "-c", "echo no >&2; exit 3"], "inputs": [["d:second", "/in/a"]], "outputs": [["d:third", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": []}',3,'exit code 3',NULL,'{"d:second": "6cde7722c6383f624cb5b68aaefcd033"}',0,1.79574637603330063825e+09,1.79574637603391885757e+09,1.79574637603658652301e+09);
CREATE TABLE unfit (
    workflow text not null, name text not null, problem text not null, commands text not null,
    primary key (workflow, name)
);
CREATE TABLE workflows (
    name text primary key, state text not null, properties text not null, steps integer not null,
    created real not null
);
INSERT INTO "workflows" VALUES('w','error','{"owner": "\u00e9"}',3,1.79574637599983716017e+09);
CREATE INDEX tasks_by_step on tasks (workflow, step);
CREATE INDEX events_by_workflow on events (workflow);
CREATE INDEX data_by_epoch on data (epoch);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    on "_sqlite_migrations" ("migration_set", "name");
COMMIT;
PRAGMA user_version = 6;

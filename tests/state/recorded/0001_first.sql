-- A state file of gaia_local at d0f98ef, as SQL.
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" ("id" integer primary key, "migration_set" text, "name" text, "applied_at" text);
INSERT INTO "_sqlite_migrations" VALUES(1,'gaia_local','0001_first','2026-11-27 02:26:16+00:00');
CREATE TABLE commands (
    workflow text not null, name text not null, definition text not null, primary key (workflow, name)
);
INSERT INTO "commands" VALUES('w','copy','{"name": "copy", "image": "busybox", "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": {"a": "/in/a"}, "outputs": {"x": "/out/x"}}');
INSERT INTO "commands" VALUES('w','break','{"name": "break", "image": "busybox", "command": ["sh", "-c", "echo no >&2; exit 3"], "inputs": {"a": "/in/a"}, "outputs": {"x": "/out/x"}}');
CREATE TABLE data (
    workflow text not null, key text not null, state text not null, quick text, digest text, task text, why text,
    primary key (workflow, key)
) without rowid;
INSERT INTO "data" VALUES('w','d:first','complete','2:1795746376725182791','6cde7722c6383f624cb5b68aaefcd033','5a5c48525a2c46acb80a7a790bf957d2',NULL);
INSERT INTO "data" VALUES('w','d:given','complete','2:1795746376723882721','6cde7722c6383f624cb5b68aaefcd033',NULL,NULL);
INSERT INTO "data" VALUES('w','d:second','complete','2:1795746376780570831','6cde7722c6383f624cb5b68aaefcd033','77187cfb644c4a1f9e9ad14c20994082',NULL);
INSERT INTO "data" VALUES('w','d:third','absent',NULL,NULL,NULL,'retry after error');
CREATE TABLE events (
    id integer primary key, workflow text not null, time real not null, event text not null, facts text not null
);
INSERT INTO "events" VALUES(14,'w',1.79574637672441172597e+09,'step-start','{"id": "5a5c48525a2c46acb80a7a790bf957d2", "task": "first", "reason": "new", "inputs": {"d:given": "6cde7722c6383f624cb5b68aaefcd033"}, "worker": 2}');
INSERT INTO "events" VALUES(15,'w',1.79574637672587203982e+09,'execution-start','{"id": "5a5c48525a2c46acb80a7a790bf957d2", "task": "first"}');
INSERT INTO "events" VALUES(16,'w',1.79574637673155236249e+09,'execution-complete','{"id": "5a5c48525a2c46acb80a7a790bf957d2", "task": "first"}');
INSERT INTO "events" VALUES(17,'w',1.79574637673156189921e+09,'container-exit','{"id": "5a5c48525a2c46acb80a7a790bf957d2", "task": "first", "code": 0}');
INSERT INTO "events" VALUES(18,'w',1.7957463767422041893e+09,'data-complete','{"id": "5a5c48525a2c46acb80a7a790bf957d2", "task": "first", "key": "d:first", "path": "/data/root/storage/w/d/first"}');
INSERT INTO "events" VALUES(19,'w',1.79574637674220919606e+09,'step-complete','{"id": "5a5c48525a2c46acb80a7a790bf957d2", "task": "first", "reason": "new", "image_id": null, "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": {"d:given": "6cde7722c6383f624cb5b68aaefcd033"}, "outputs": {"d:first": "6cde7722c6383f624cb5b68aaefcd033"}, "elapsed": 0.01774907112121582}');
INSERT INTO "events" VALUES(20,'w',1.79574637674308776854e+09,'step-start','{"id": "e53aa5f79663404087025c9dd65571b7", "task": "second", "reason": "new", "inputs": {"d:first": "6cde7722c6383f624cb5b68aaefcd033"}, "worker": 1}');
INSERT INTO "events" VALUES(21,'w',1.79574637675269770621e+09,'execution-start','{"id": "e53aa5f79663404087025c9dd65571b7", "task": "second"}');
INSERT INTO "events" VALUES(22,'w',1.79574637675430870053e+09,'execution-complete','{"id": "e53aa5f79663404087025c9dd65571b7", "task": "second"}');
INSERT INTO "events" VALUES(23,'w',1.79574637675431680676e+09,'container-exit','{"id": "e53aa5f79663404087025c9dd65571b7", "task": "second", "code": 0}');
INSERT INTO "events" VALUES(24,'w',1.79574637675485825538e+09,'data-complete','{"id": "e53aa5f79663404087025c9dd65571b7", "task": "second", "key": "d:second", "path": "/data/root/storage/w/d/second"}');
INSERT INTO "events" VALUES(25,'w',1.79574637675486230847e+09,'step-complete','{"id": "e53aa5f79663404087025c9dd65571b7", "task": "second", "reason": "new", "image_id": null, "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": {"d:first": "6cde7722c6383f624cb5b68aaefcd033"}, "outputs": {"d:second": "6cde7722c6383f624cb5b68aaefcd033"}, "elapsed": 0.011744260787963867}');
INSERT INTO "events" VALUES(26,'w',1.79574637676209330561e+09,'step-start','{"id": "f800c892ed414582b95fcc80501ddff6", "task": "third", "reason": "new", "inputs": {"d:second": "6cde7722c6383f624cb5b68aaefcd033"}, "worker": 1}');
INSERT INTO "events" VALUES(27,'w',1.79574637676295280463e+09,'execution-start','{"id": "f800c892ed414582b95fcc80501ddff6", "task": "third"}');
INSERT INTO "events" VALUES(28,'w',1.79574637676384639742e+09,'execution-complete','{"id": "f800c892ed414582b95fcc80501ddff6", "task": "third"}');
INSERT INTO "events" VALUES(29,'w',1.79574637676385378834e+09,'container-exit','{"id": "f800c892ed414582b95fcc80501ddff6", "task": "third", "code": 3}');
INSERT INTO "events" VALUES(30,'w',1.79574637676407909388e+09,'step-error','{"id": "f800c892ed414582b95fcc80501ddff6", "task": "third", "log": "no", "code": 3, "message": "exit code 3"}');
INSERT INTO "events" VALUES(31,'w',1.79574637676522326466e+09,'step-start','{"id": "77187cfb644c4a1f9e9ad14c20994082", "task": "second", "reason": "expired", "inputs": {"d:first": "6cde7722c6383f624cb5b68aaefcd033"}, "worker": 2}');
INSERT INTO "events" VALUES(32,'w',1.79574637676913571359e+09,'execution-start','{"id": "77187cfb644c4a1f9e9ad14c20994082", "task": "second"}');
INSERT INTO "events" VALUES(33,'w',1.79574637678123068804e+09,'execution-complete','{"id": "77187cfb644c4a1f9e9ad14c20994082", "task": "second"}');
INSERT INTO "events" VALUES(34,'w',1.79574637678124475479e+09,'container-exit','{"id": "77187cfb644c4a1f9e9ad14c20994082", "task": "second", "code": 0}');
INSERT INTO "events" VALUES(35,'w',1.7957463767844765186e+09,'data-complete','{"id": "77187cfb644c4a1f9e9ad14c20994082", "task": "second", "key": "d:second", "path": "/data/root/storage/w/d/second"}');
INSERT INTO "events" VALUES(36,'w',1.79574637678448200232e+09,'step-complete','{"id": "77187cfb644c4a1f9e9ad14c20994082", "task": "second", "reason": "expired", "image_id": null, "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": {"d:first": "6cde7722c6383f624cb5b68aaefcd033"}, "outputs": {"d:second": "6cde7722c6383f624cb5b68aaefcd033"}, "elapsed": 0.019172191619873047}');
INSERT INTO "events" VALUES(37,'w',1.79574637678579306599e+09,'step-start','{"id": "de3dd2e820224504b605482e53b150dc", "task": "third", "reason": "upstream second ran again", "inputs": {"d:second": "6cde7722c6383f624cb5b68aaefcd033"}, "worker": 1}');
INSERT INTO "events" VALUES(38,'w',1.79574637679042267797e+09,'execution-start','{"id": "de3dd2e820224504b605482e53b150dc", "task": "third"}');
INSERT INTO "events" VALUES(39,'w',1.7957463767908511162e+09,'execution-complete','{"id": "de3dd2e820224504b605482e53b150dc", "task": "third"}');
INSERT INTO "events" VALUES(40,'w',1.79574637679085755345e+09,'container-exit','{"id": "de3dd2e820224504b605482e53b150dc", "task": "third", "code": 3}');
INSERT INTO "events" VALUES(41,'w',1.79574637679108428962e+09,'step-error','{"id": "de3dd2e820224504b605482e53b150dc", "task": "third", "log": "no", "code": 3, "message": "exit code 3"}');
CREATE TABLE steps (
    workflow text not null, name text not null, definition text not null, primary key (workflow, name)
);
INSERT INTO "steps" VALUES('w','first','{"name": "first", "command": "copy", "inputs": {"a": "d:given"}, "outputs": {"x": "d:first"}}');
INSERT INTO "steps" VALUES('w','second','{"name": "second", "command": "copy", "inputs": {"a": "d:first"}, "outputs": {"x": "d:second"}}');
INSERT INTO "steps" VALUES('w','third','{"name": "third", "command": "break", "inputs": {"a": "d:second"}, "outputs": {"x": "d:third"}}');
CREATE TABLE tasks (
    id text primary key, workflow text not null, step text not null, state text not null, reason text not null,
    definition text not null, exit_code integer, message text, image_id text, inputs text, superseded integer not null,
    created real not null, started real, ended real
);
INSERT INTO "tasks" VALUES('5a5c48525a2c46acb80a7a790bf957d2','w','first','complete','new','{"image": "busybox", "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": [["d:given", "/in/a"]], "outputs": [["d:first", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": ["d:given"]}',0,NULL,NULL,'{"d:given": "6cde7722c6383f624cb5b68aaefcd033"}',0,1.79574637672403049468e+09,1.79574637672441172597e+09,1.79574637674216079719e+09);
INSERT INTO "tasks" VALUES('e53aa5f79663404087025c9dd65571b7','w','second','complete','new','{"image": "busybox", "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": [["d:first", "/in/a"]], "outputs": [["d:second", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": []}',0,NULL,NULL,'{"d:first": "6cde7722c6383f624cb5b68aaefcd033"}',1,1.79574637674228811262e+09,1.79574637674308776854e+09,1.79574637675483202931e+09);
INSERT INTO "tasks" VALUES('f800c892ed414582b95fcc80501ddff6','w','third','error','new','{"image": "busybox", "command": ["sh", "-c", "echo no >&2; exit 3"], "inputs": [["d:second", "/in/a"]], "outputs": [["d:third", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": []}',3,'exit code 3',NULL,'{"d:second": "6cde7722c6383f624cb5b68aaefcd033"}',1,1.795746376761431694e+09,1.79574637676209330561e+09,1.79574637676406645772e+09);
INSERT INTO "tasks" VALUES('77187cfb644c4a1f9e9ad14c20994082','w','second','complete','expired','{"image": "busybox", "command": ["sh", "-c", "cat /in/a > /out/x"], "inputs": [["d:first", "/in/a"]], "outputs": [["d:second", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": []}',0,NULL,NULL,'{"d:first": "6cde7722c6383f624cb5b68aaefcd033"}',0,1.7957463767648477554e+09,1.79574637676522326466e+09,1.79574637678439545628e+09);
INSERT INTO "tasks" VALUES('de3dd2e820224504b605482e53b150dc','w','third','error','upstream second ran again','{"image": "busybox", "command": ["sh", "-c", "echo no >&2; exit 3"], "inputs": [["d:second", "/in/a"]], "outputs": [["d:third", "/out/x"]], "stdout": null, "timeout": 3600.0, "external": []}',3,'exit code 3',NULL,'{"d:second": "6cde7722c6383f624cb5b68aaefcd033"}',0,1.79574637678462958336e+09,1.79574637678579306599e+09,1.79574637679105758667e+09);
CREATE TABLE workflows (
    name text primary key, state text not null, properties text not null, steps integer not null, created real not null
);
INSERT INTO "workflows" VALUES('w','error','{"owner": "\u00e9"}',3,1.79574637672356414797e+09);
CREATE INDEX tasks_by_step on tasks (workflow, step);
CREATE INDEX events_by_workflow on events (workflow);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name" on "_sqlite_migrations" ("migration_set", "name");
COMMIT;

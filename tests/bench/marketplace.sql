-- A marketplace at scale. psql variables: users, recent_share (of activity that lies in the last
-- two days). Tables come from the demo's schema file, and are empty.
\set ON_ERROR_STOP on
set client_min_messages to warning;
set synchronous_commit to off;
set maintenance_work_mem to '256MB';

-- Checking foreign keys takes longer than all the rest; what follows keeps them by construction.
select current_setting('is_superuser')::boolean as is_superuser \gset
\if :is_superuser
    set session_replication_role to replica;
\endif

-- Indexes that are not keys are made again after loading.
create temp table index_definition as
select indexrelid::regclass::text as index_name, pg_get_indexdef(indexrelid) as definition
from pg_index
where not indisunique and indrelid::regclass::text in (select tablename from pg_tables where schemaname = 'public');
select 'drop index ' || index_name from index_definition \gexec

select setseed(0.7) as seeded \gset

insert into attributes (id, name) values (md5('mens_size')::uuid, 'mens_size'), (md5('brand')::uuid, 'brand');
insert into attribute_values (id, attribute_id, value, key)
select md5('size' || n)::uuid, md5('mens_size')::uuid, trim_scale(n / 2.0)::text, 'size_' || n from generate_series(8, 28) as given (n);

insert into products (id, name, mpn)
select md5('product' || n)::uuid, 'Product, "' || n || '"', 'mpn' || n from generate_series(1, 2000) as given (n);
insert into product_variants (id, product_id, index_cache)
select md5('variant' || n)::uuid, md5('product' || (1 + n % 2000))::uuid, jsonb_build_object('mens_size', trim_scale((8 + n % 20) / 2.0))
from generate_series(1, 20000) as given (n);

insert into users (id, email, username, first_name, deleted_at)
select md5('user' || n)::uuid, n || '@example.test', 'user_' || n, 'First' || n, case when n % 50 = 0 then 1 else 0 end
from generate_series(1, :users) as given (n);
insert into user_activities (user_id, last_active) select id, now() - interval '1 day' * random() * 30 from users;
insert into user_preferences (id, user_id) select md5('preference' || email)::uuid, id from users;
insert into attribute_preferences (user_preference_id, attribute_id, attribute_value_id, preferred)
select md5('preference' || email)::uuid, md5('mens_size')::uuid, md5('size' || 8 + floor(random() * 20)::int)::uuid, true from users;

insert into inventory_items (user_id, product_variant_id, status, created_at)
select md5('user' || 1 + floor(random() * :users)::int)::uuid, md5('variant' || 1 + floor(20000 * random() ^ 2)::int)::uuid,
    case when random() < 0.8 then 'OPEN_FOR_TRADE' else 'HAS_NEW_OWNER' end,
    now() - case when random() < :recent_share then interval '2 days' else interval '1095 days' end * random()
from generate_series(1, 5 * :users);
insert into wishlist_items (user_id, product_variant_id, created_at)
select md5('user' || 1 + floor(random() * :users)::int)::uuid, md5('variant' || 1 + floor(20000 * random() ^ 2)::int)::uuid,
    now() - case when random() < :recent_share then interval '2 days' else interval '1095 days' end * random()
from generate_series(1, 5 * :users);
insert into offers (id, creator_user_id, created_at)
select md5('offer' || n)::uuid, md5('user' || 1 + floor(random() * :users)::int)::uuid,
    now() - case when random() < :recent_share then interval '2 days' else interval '1095 days' end * random()
from generate_series(1, 2 * :users) as given (n);
insert into offer_items (offer_id, product_variant_id, offer_item_owner)
select md5('offer' || n)::uuid, md5('variant' || 1 + floor(20000 * random() ^ 2)::int)::uuid, 'CREATOR'
from generate_series(1, 2 * :users) as given (n), generate_series(1, 1 + n % 2) as items (item);

select definition from index_definition \gexec
vacuum analyze;
\if :is_superuser
    checkpoint;
\endif

-- A made-up marketplace of 5,328 users, the same at every seeding but for the time: activity lies
-- in the days before now. The numbers are drawn so that every rule of the models has work to do.
select setseed(0.42);

insert into attributes (id, name)
select md5('attribute' || name)::uuid, name
from unnest(array['mens_size', 'brand']) as given (name);

insert into attribute_values (id, attribute_id, value, key)
select md5('size' || size)::uuid, md5('attributemens_size')::uuid, size, 'size_' || size
from (select trim_scale(n / 2.0)::text as size from generate_series(8, 28) as given (n)) as sizes
union all
select md5('brand' || n)::uuid, md5('attributebrand')::uuid, 'Brand ' || n, 'brand_' || n
from generate_series(1, 8) as given (n);

insert into products (id, name, mpn)
select
    md5('product' || n)::uuid,
    (array[
        'Air Jordan 1 "Chicago"', 'Dunk Low, Panda', 'Yeezy Boost 350', 'Café Racer', 'Gel-Kayano 14',
        'Samba OG', E'Forum\nLow', 'New Balance 990v3', 'スニーカー', 'Chuck 70'
    ])[1 + n % 10] || ' ' || n,
    'mpn' || n
from generate_series(1, 120) as given (n);

insert into product_variants (id, product_id, index_cache)
select
    md5('variant' || n)::uuid,
    md5('product' || (1 + n % 120))::uuid,
    case
        when n % 50 = 0 then null
        when n % 50 = 1 then '{}'::jsonb
        when n % 50 = 2 then '{"mens_size": null}'::jsonb
        when n % 50 = 3 then '{"mens_size": ""}'::jsonb
        else jsonb_build_object('mens_size', trim_scale((8 + n / 120 * 2) / 2.0)::text)
    end
from generate_series(1, 900) as given (n);

insert into users (id, email, username, first_name, created_at, deleted_at)
select
    md5('user' || n)::uuid,
    'user' || n || '@example.test',
    case
        when n % 97 = 0 then null
        when n % 89 = 0 then 'comma,' || n
        when n % 83 = 0 then 'quote"' || n
        else 'user_' || n
    end,
    case
        when n % 31 = 0 then null
        when n % 37 = 0 then ''
        when n % 41 = 0 then '  '
        else (array[
            'Maya', 'José', 'Zoë', 'O''Brien', 'Smith, Jr.', '"Ace"', E'Two\nLines', '李雷', 'Ana',
            'Liam', 'Noor', 'Øystein'
        ])[1 + n % 12]
    end,
    now() - interval '1 day' * (30 + n % 700),
    case when n % 50 = 7 then 1700000000 + n else 0 end
from generate_series(1, 5000) as given (n);

insert into user_activities (user_id, last_active)
select id, now() - interval '1 minute' * floor(random() * 60 * 24 * 60)
from users
where email not like 'user%3@example.test';

insert into user_preferences (id, user_id)
select md5('preference' || email)::uuid, id
from users
where email not like 'user%9@example.test';

insert into attribute_preferences (id, user_preference_id, attribute_id, attribute_value_id, preferred)
select
    md5('attribute_preference' || email || n)::uuid,
    md5('preference' || email)::uuid,
    md5('attribute' || case when n = 3 then 'brand' else 'mens_size' end)::uuid,
    case
        when n = 3 then md5('brand' || 1 + floor(random() * 8)::int)::uuid
        else md5('size' || trim_scale((8 + floor(random() * 21))::numeric / 2)::text)::uuid
    end,
    n <> 2 or email like '%5@example.test'
from users, generate_series(1, 3) as given (n)
where email not like 'user%9@example.test';

-- A third of what happens, happened in the last three days; few shoes are popular, most are not.
insert into inventory_items (user_id, product_variant_id, status, created_at)
select
    md5('user' || 1 + floor(random() * 5000)::int)::uuid,
    md5('variant' || 1 + floor(900 * random() ^ 3)::int)::uuid,
    case when random() < 0.8 then 'OPEN_FOR_TRADE' else 'HAS_NEW_OWNER' end,
    now() - case when random() < 0.33 then interval '3 days' else interval '200 days' end * random()
from generate_series(1, 9000);

insert into wishlist_items (user_id, product_variant_id, deleted_at, created_at)
select
    md5('user' || 1 + floor(random() * 5000)::int)::uuid,
    md5('variant' || 1 + floor(900 * random() ^ 3)::int)::uuid,
    case when random() < 0.1 then 1700000000 else 0 end,
    now() - case when random() < 0.33 then interval '3 days' else interval '200 days' end * random()
from generate_series(1, 8000);

insert into offers (id, creator_user_id, offer_status, created_at)
select
    md5('offer' || n)::uuid,
    md5('user' || 1 + floor(random() * 5000)::int)::uuid,
    (array['OPEN', 'EXPIRED', 'COMPLETED', 'DECLINED', 'RESCINDED'])[1 + n % 5],
    now() - case when random() < 0.33 then interval '3 days' else interval '200 days' end * random()
from generate_series(1, 3000) as given (n);

insert into offer_items (offer_id, product_variant_id, offer_item_owner)
select
    md5('offer' || n)::uuid,
    md5('variant' || 1 + floor(900 * random() ^ 3)::int)::uuid,
    case when item = 1 then 'CREATOR' else 'RECEIVER' end
from generate_series(1, 3000) as given (n), generate_series(1, 1 + n % 3) as items (item);

-- One user for each answer of `audiences trace`; the shoe of the sixth is wanted by one other user.
insert into users (id, email, username, first_name, deleted_at)
select
    ('00000000-0000-4000-8000-00000000000' || n)::uuid,
    name || '@example.test',
    name,
    case when name <> 'nameless' then 'Robin' end,
    case when name = 'deleted' then 1700000000 else 0 end
from unnest(array[
    'exported', 'idle', 'too_recent', 'too_old', 'outranked', 'low_demand', 'deleted', 'nameless'
]) with ordinality as given (name, n);

insert into product_variants (id, product_id, index_cache)
values (md5('variant901')::uuid, md5('product1')::uuid, '{"mens_size": "9"}');

insert into wishlist_items (user_id, product_variant_id, created_at)
select '00000000-0000-4000-8000-000000000005', md5('variant5')::uuid, now() - interval '20 hours'
union all
select md5('user1')::uuid, md5('variant901')::uuid, now() - interval '90 days';

insert into inventory_items (user_id, product_variant_id, status, created_at)
select
    ('00000000-0000-4000-8000-00000000000' || n)::uuid,
    md5('variant' || shoe)::uuid,
    'OPEN_FOR_TRADE',
    now() - interval '1 hour' * hours_ago
from (
    values (1, 5, 24), (3, 5, 3), (4, 5, 50), (5, 6, 18), (6, 901, 24), (7, 5, 24), (8, 5, 24)
) as given (n, shoe, hours_ago);

insert into offers (id, creator_user_id, created_at)
values (
    '00000000-0000-4000-9000-000000000005',
    '00000000-0000-4000-8000-000000000005',
    now() - interval '30 hours'
);

insert into offer_items (offer_id, product_variant_id, offer_item_owner)
values ('00000000-0000-4000-9000-000000000005', md5('variant5')::uuid, 'CREATOR');

-- New users of the last two weeks, at each step of layer 5. Their actions lie before the window of
-- layer 3: of ten users three have no shoe, two no bio, two no offer, one no wish.
insert into users (id, email, username, first_name, bio, created_at)
select
    md5('new' || n)::uuid,
    'new' || n || '@example.test',
    'new_' || n,
    case when n % 29 <> 0 then (array['Ines', 'Tom', 'Aiko', 'Sam', 'Lena', 'Raj'])[1 + n % 6] end,
    case when n % 10 >= 5 then 'Mostly runners' end,
    now() - interval '1 hour' * (13 + n)
from generate_series(1, 320) as given (n);

insert into inventory_items (user_id, product_variant_id, status, created_at)
select md5('new' || n)::uuid, md5('variant' || 1 + n * 7 % 900)::uuid, 'OPEN_FOR_TRADE', now() - interval '10 days'
from generate_series(1, 320) as given (n)
where n % 10 >= 3;

insert into offers (id, creator_user_id, offer_status, created_at)
select md5('new_offer' || n)::uuid, md5('new' || n)::uuid, 'OPEN', now() - interval '5 days'
from generate_series(1, 320) as given (n)
where n % 10 >= 7;

insert into offer_items (offer_id, product_variant_id, offer_item_owner)
select md5('new_offer' || n)::uuid, md5('variant' || 1 + (n * 11 + side) % 900)::uuid, (array['CREATOR', 'RECEIVER'])[side]
from generate_series(1, 320) as given (n), generate_series(1, 2) as sides (side)
where n % 10 >= 7;

insert into wishlist_items (user_id, product_variant_id, created_at)
select md5('new' || n)::uuid, md5('variant' || 1 + n * 13 % 900)::uuid, now() - interval '6 days'
from generate_series(1, 320) as given (n)
where n % 10 in (5, 8, 9);

insert into desired_items (user_id, product_variant_id, offers_count, created_at)
select md5('new' || n)::uuid, md5('variant' || 1 + n * 17 % 900)::uuid, n % 7, now() - interval '4 days'
from generate_series(1, 320) as given (n)
where n % 10 in (6, 9);

-- What was offered and accepted became a trade, two days later.
insert into trades (offer_id, validation_passed_date, state)
select id, created_at + interval '2 days', 'VALIDATED'
from offers
where offer_status = 'COMPLETED' and created_at < now() - interval '2 days';
